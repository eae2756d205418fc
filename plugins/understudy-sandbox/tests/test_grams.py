"""The quick transform gives scikit-learn's own numbers."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from understudy_sandbox.learner import grams

TEXTS = [
    "return my black boots, size 42",
    "where is order 77? it's late -- really late",
    "Straße İstanbul x_y don't a b",
    "the the the THE boots boots",
]
WORDS = st.sampled_from(" ".join(TEXTS).split())
ANY = st.text(max_size=30) | st.lists(WORDS, max_size=12).map(" ".join)


@cache
def fitted() -> tuple[TfidfVectorizer, TfidfVectorizer]:
    word = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    char = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    return word.fit(TEXTS), char.fit(TEXTS)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts=st.lists(ANY, min_size=1, max_size=6))
def test_the_numbers_are_those_of_the_vectorisers(texts: list[str]) -> None:
    word, char = fitted()
    wanted = sparse.hstack([word.transform(texts), char.transform(texts)]).toarray()
    found = grams.WordGrams(word, char).transform(texts)
    np.testing.assert_allclose(found.toarray(), wanted, rtol=1e-12, atol=0)


def test_a_row_does_not_depend_on_those_beside_it() -> None:
    made = grams.WordGrams(*fitted())
    together = made.transform([*TEXTS, "boots late order", ""]).toarray()
    alone = [grams.WordGrams(*fitted()).transform([t]).toarray()[0] for t in TEXTS]
    assert (together[: len(TEXTS)] == np.array(alone)).all()


def test_what_is_kept_of_words_has_an_end(monkeypatch) -> None:
    monkeypatch.setattr(grams, "_KEPT_WORDS", 3)
    made = grams.WordGrams(*fitted())
    first = made.transform(TEXTS).toarray()
    assert len(made._known) <= 3
    assert (made.transform(TEXTS).toarray() == first).all()
