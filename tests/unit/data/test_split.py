"""The split: whole conversations, decided by nothing but seed, shares and name."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data import splitter
from understudy.recipe import Split

names = st.text(st.characters(codec="utf-8"), max_size=20)


@st.composite
def shares(draw: st.DrawFn) -> Split:
    test = draw(st.integers(0, 60))
    validation = draw(st.integers(0, 99 - test))
    rest = 100 - test - validation
    seed = draw(st.integers())
    return Split(train=rest / 100, validation=validation / 100, test=test / 100, seed=seed)


@settings(deadline=None)
@given(shares(), names)
def test_a_conversation_is_always_on_the_same_side(split: Split, name: str) -> None:
    assert splitter(split)(name) == splitter(split.model_copy())(name)


@settings(deadline=None)
@given(shares(), names)
def test_a_larger_test_share_keeps_the_test_rows(split: Split, name: str) -> None:
    larger = Split(
        train=split.train / 2,
        validation=split.validation,
        test=1 - split.train / 2 - split.validation,
        seed=split.seed,
    )
    if splitter(split)(name) == "test":
        assert splitter(larger)(name) == "test"


@settings(deadline=None)
@given(shares(), names)
def test_a_share_of_nothing_gets_nothing(split: Split, name: str) -> None:
    assert getattr(split, splitter(split)(name)) > 0


def test_shares_are_met() -> None:
    side = splitter(Split(train=0.7, validation=0.1, test=0.2))
    counts = Counter(side(f"talk-{number}") for number in range(20_000))
    assert abs(counts["train"] / 20_000 - 0.7) < 0.015
    assert abs(counts["validation"] / 20_000 - 0.1) < 0.01
    assert abs(counts["test"] / 20_000 - 0.2) < 0.015


def test_sides_do_not_change_from_release_to_release() -> None:
    side = splitter(Split(train=0.5, validation=0.25, test=0.25, seed=17))
    assert "".join(side(f"talk-{number}")[0] for number in range(16)) == "tttvvvtttttvvttt"


def test_another_seed_is_another_split() -> None:
    one, two = (splitter(Split(seed=seed)) for seed in (1, 2))
    talks = [f"talk-{number}" for number in range(200)]
    assert [one(talk) for talk in talks] != [two(talk) for talk in talks]
