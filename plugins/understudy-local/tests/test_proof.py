"""The figures that a file is held to, over logits that are made up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, rel_entr

from understudy_local.export.proof import Fidelity, check, fidelity

WORDS = 7
SEEDS = st.integers(0, 2**32 - 1)


def made(seed: int, count: int = 5) -> tuple[list[int], np.ndarray]:
    rng = np.random.default_rng(seed)
    tokens = [int(one) for one in rng.integers(0, WORDS, count)]
    return tokens, rng.normal(scale=4, size=(count, WORDS)).astype(np.float32)


@settings(deadline=None)
@given(seed=SEEDS, shift=st.floats(-50, 50))
def test_the_same_model_is_the_same(seed, shift):
    tokens, logits = made(seed)
    found = fidelity(iter([(tokens, logits, logits + np.float32(shift))]))
    assert found.kl == pytest.approx(0, abs=1e-4)
    assert found.perplexity == pytest.approx(found.trained_perplexity, rel=1e-3)
    assert found.tokens == len(tokens) - 1


@settings(deadline=None)
@given(first=SEEDS, second=SEEDS)
def test_the_figures_are_those_of_the_textbook(first, second):
    tokens, p = made(first)
    _, q = made(second)
    found = fidelity(iter([(tokens, p, q)]))
    ours, theirs = (log_softmax(one[:-1].astype(float), axis=-1) for one in (p, q))
    kl = rel_entr(np.exp(ours), np.exp(theirs)).sum(axis=-1).mean()
    loss = -theirs[np.arange(4), tokens[1:]].mean()
    assert found.kl == pytest.approx(kl, rel=1e-6, abs=1e-9)
    assert found.perplexity == pytest.approx(math.exp(loss), rel=1e-6)
    assert found.top1 == pytest.approx((p[:-1].argmax(-1) == q[:-1].argmax(-1)).mean())
    assert found.kl >= -1e-9


def test_texts_count_by_their_tokens():
    (first, p), (second, q) = made(1, 3), made(2, 9)
    both = fidelity(iter([(first, p, p), (second, q, q)]))
    assert both.tokens == 2 + 8


def figures(**changes: float) -> Fidelity:
    told = {"kl": 1e-6, "top1": 1.0, "perplexity": 10.0, "trained_perplexity": 10.0}
    return Fidelity(tokens=100, **told | changes)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("f16", {"kl": 2e-3}, "KL divergence"),
        ("f16", {"top1": 0.98}, "0.980 of the next tokens"),
        ("f16", {"perplexity": 10.2}, "1.020 times"),
        ("q8_0", {"perplexity": 10.7}, "1.070 times"),
        ("q4_k_m", {"kl": math.nan}, "garbled"),
        ("q2_k", {"perplexity": math.inf}, "garbled"),
    ],
)
def test_a_file_beyond_its_limits_says_which(name, changes, words):
    why = check(name, figures(**changes))
    assert why is not None
    assert words in why
    assert why.startswith(name)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("f16", {"kl": 1e-3, "top1": 0.99}),
        ("q8_0", {"kl": 0.1, "top1": 0.8, "perplexity": 10.6}),
        ("q4_k_m", {"kl": 0.5, "perplexity": 20.0}),
    ],
)
def test_a_file_within_its_limits_passes(name, changes):
    assert check(name, figures(**changes)) is None


def test_the_doctor_says_what_an_export_lacks(tmp_path, monkeypatch):
    from local_kit import make_backend
    from understudy_local.export import tools

    def export() -> object:
        return next(one for one in make_backend(tmp_path).doctor() if one.name == "export")

    monkeypatch.setattr(tools, "missing", lambda: ["cyllama"])
    assert not export().ok
    assert "cyllama" in export().detail
    monkeypatch.setattr(tools, "missing", list)
    monkeypatch.setattr(tools, "is_there", lambda: False)
    assert export().ok
    assert "fetched by the first export" in export().detail
