"""Intervals: they cover the truth as often as they say, and stay honest where samples are poor."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import ConfigError, DataError
from understudy.evaluate import statistics
from understudy.evaluate.statistics import mean_interval, paired_difference

np = pytest.importorskip("numpy")

RUNS = 300
SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=60)
BINARY = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=60)


@pytest.fixture
def quick(monkeypatch):
    """About 2,000 resamples instead of 9,999: the coverage hardly differs, the time does."""
    monkeypatch.setattr(statistics, "_DRAWS", 1)


def covered(draw, truth, interval, method):
    rng = np.random.default_rng(2026)
    found = [interval(draw(rng)) for _ in range(RUNS)]
    assert sum(item.method == method for item in found) > RUNS * 0.9
    return sum(item.low <= truth <= item.high for item in found) / RUNS


def test_wilson_covers_the_truth():
    rate = covered(
        lambda rng: (rng.random(150) < 0.8).astype(float),
        0.8,
        lambda scores: mean_interval(scores, 0.95),
        "wilson",
    )
    assert 0.92 <= rate <= 0.98


def test_bca_covers_the_truth_of_skewed_scores(quick):
    # In the manner of JSON F1: three answers in five are perfect, the others are spread.
    rate = covered(
        lambda rng: np.where(rng.random(120) < 0.6, 1.0, rng.choice([0, 0.5, 0.67, 0.8], 120)),
        0.6 + 0.4 * (0.5 + 0.67 + 0.8) / 4,
        lambda scores: mean_interval(scores, 0.95),
        "bca",
    )
    assert 0.92 <= rate <= 0.98


def test_paired_difference_covers_the_truth_of_right_and_wrong_answers(quick):
    def draw(rng):
        before = rng.random(250) < 0.75
        after = np.where(before, rng.random(250) >= 0.08 / 0.75, rng.random(250) < 0.12 / 0.25)
        return after.astype(float), before.astype(float)

    rate = covered(draw, 0.04, lambda pair: paired_difference(*pair, 0.95), "bca")
    assert 0.92 <= rate <= 0.98


def test_pairing_is_used():
    rng = np.random.default_rng(5)
    hard = rng.uniform(0, 0.9, 200)
    better = hard + rng.uniform(0, 0.1, 200)
    assert paired_difference(better, hard, 0.95).low > 0
    assert mean_interval(better, 0.95).low < mean_interval(hard, 0.95).high


@given(SCORES | BINARY, st.sampled_from([0.8, 0.95, 0.99]))
def test_an_interval_holds_its_mean_and_stays_in_range(scores, confidence):
    found = mean_interval(scores, confidence)
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.low < found.high
    assert found.n == len(scores)
    assert found.confidence == confidence


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=60))
def test_a_difference_turns_around_with_its_sides(pairs):
    a, b = zip(*pairs, strict=True)
    there, back = paired_difference(a, b, 0.9), paired_difference(b, a, 0.9)
    assert -1 <= there.low <= there.mean <= there.high <= 1
    assert there.mean == pytest.approx(-back.mean, abs=1e-9)
    if there.method == "wilson-bounded":
        assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-6)


@given(SCORES)
def test_equal_models_differ_by_nothing_with_a_width_that_shrinks_with_rows(scores):
    few, many = (
        paired_difference(scores, scores, 0.95),
        paired_difference(scores * 4, scores * 4, 0.95),
    )
    assert few.mean == many.mean == 0
    assert few.low < many.low < 0 < many.high < few.high


def test_equal_models_on_400_rows_lie_within_a_margin_of_two_points():
    found = paired_difference([1.0, 0.0] * 200, [1.0, 0.0] * 200, 0.95)
    assert -0.02 < found.low < -0.01
    assert 0.01 < found.high < 0.02


@pytest.mark.parametrize(
    ("value", "method"), [(0.0, "wilson"), (1.0, "wilson"), (0.5, "wilson-bounded")]
)
def test_constant_scores_are_not_taken_for_certain(value, method):
    found = mean_interval([value] * 50, 0.95)
    assert found.method == method
    assert found.mean == value
    assert found.high - found.low > 0.05


def test_one_small_mistake_is_not_surer_than_none():
    perfect = mean_interval([1.0] * 100, 0.95)
    nearly = mean_interval([1.0] * 99 + [0.9], 0.95)
    assert nearly.low == mean_interval([1.0] * 99 + [0.0], 0.95).low < perfect.low
    assert nearly.high == perfect.high


def test_the_same_scores_give_the_same_interval():
    scores = np.random.default_rng(1).random(80)
    assert mean_interval(scores, 0.95) == mean_interval(list(scores), 0.95)
    assert mean_interval(scores, 0.95, seed=1) != mean_interval(scores, 0.95, seed=2)
    assert mean_interval(scores, 0.99).low < mean_interval(scores, 0.8).low


def test_many_rows_take_the_plain_bootstrap(quick):
    scores = np.random.default_rng(1).random(10_001)
    found = mean_interval(scores, 0.95)
    assert found.method == "percentile"
    assert found.low < found.mean < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * scores.std() / 100, rel=0.1)


def test_figures_in_words():
    assert str(mean_interval([1.0] * 90 + [0.0] * 10, 0.95)) == (
        "0.900 (95 % interval 0.826 to 0.945, 100 rows)"
    )
    assert "80 % interval" in str(mean_interval([1.0], 0.8))
    assert str(mean_interval([1.0], 0.8)).endswith("1 row)")


@pytest.mark.parametrize("scores", [[], [1.2], [-0.1], [float("nan")], [0.5, float("inf")]])
def test_scores_that_are_none_are_refused(scores):
    with pytest.raises(DataError, match=r"no scored row|not a number from 0 to 1"):
        mean_interval(scores, 0.95)
    with pytest.raises(DataError):
        paired_difference(scores, scores, 0.95)


def test_unpaired_rows_and_odd_confidences_are_refused():
    with pytest.raises(DataError, match="there are 1 and 2 scores"):
        paired_difference([1], [1, 0], 0.95)
    for confidence in (0, 1, 95):
        with pytest.raises(ConfigError, match="confidence"):
            mean_interval([1.0], confidence)
