"""Confidence intervals for scores in [0, 1], and for the paired difference of two models.

Three methods, chosen by the sample alone:

* ``wilson``: every score is 0 or 1. Wilson's interval (scipy.stats.binomtest).
* ``bca`` / ``percentile``: other scores. Bootstrap (scipy.stats.bootstrap), bias-corrected and
  accelerated up to 10,000 rows; beyond, its jackknife is quadratic and its correction
  negligible, so the plain percentile bootstrap is used.
* ``wilson-bounded``: fewer than 20 rows differ from the most frequent value. A bootstrap then
  only repeats what it saw, and would call a model with one small mistake surer than one with
  none. Of all distributions on [0, 1] with a given mean the 0/1 one spreads most, so Wilson's
  interval around the sum of the scores (rounded down for the low end, up for the high one)
  holds for any of them. For a difference it is taken for the mean gain and the mean loss apart,
  each at half the error rate (Bonferroni), so that two equal models get 0 with the width that
  so many rows deserve.

scipy and numpy are imported on first use. Everything is deterministic: the seed is fixed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict

from understudy.errors import ConfigError, DataError

__all__ = ["Interval", "mean_interval", "paired_difference"]

_SEED = 17
_FEW = 20
_DRAWS = 20_000_000
"""Values drawn by one bootstrap: bounds its time."""
_AT_ONCE = 1_000_000
"""Values held by one bootstrap at a time: bounds its memory (about 16 bytes each)."""
_BCA_ROWS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean over ``n`` rows with its two-sided interval at ``confidence``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    mean: float
    low: float
    high: float
    n: int
    method: str
    confidence: float

    def __str__(self) -> str:
        """The figures in words: ``0.871 (95 % interval 0.842 to 0.896, 600 rows)``."""
        rows = "row" if self.n == 1 else "rows"
        return (
            f"{self.mean:.3f} ({self.confidence * 100:g} % interval {self.low:.3f} to "
            f"{self.high:.3f}, {self.n:,} {rows})"
        )


def mean_interval(scores: Sequence[float], confidence: float, *, seed: int = _SEED) -> Interval:
    """The mean of ``scores`` and an interval that holds the true mean at ``confidence``.

    Args:
        scores: one value in [0, 1] a row.
        confidence: between 0 and 1, such as 0.95.
        seed: of the bootstrap.

    Raises:
        DataError: there is no row, or a score is not a number in [0, 1].
        ConfigError: the confidence is not between 0 and 1.
    """
    values = _checked(scores, confidence)
    mean = float(values.mean())
    if ((values == 0) | (values == 1)).all():
        low, high = _wilson(values, confidence)
        method = "wilson"
    elif _few_differ(values):
        low, high = _wilson(values, confidence)
        method = "wilson-bounded"
    else:
        low, high, method = _bootstrap(values, confidence, seed)
    return _interval(mean, (max(low, 0.0), min(high, 1.0)), values.size, method, confidence)


def paired_difference(
    a: Sequence[float], b: Sequence[float], confidence: float, *, seed: int = _SEED
) -> Interval:
    """The mean of ``a - b`` over the same rows, with its interval.

    Args:
        a: scores in [0, 1] of one model, row by row.
        b: scores of the other, the same rows in the same order.
        confidence: between 0 and 1, such as 0.95.
        seed: of the bootstrap.

    Raises:
        DataError: no rows, different lengths, or a score that is not a number in [0, 1].
        ConfigError: the confidence is not between 0 and 1.
    """
    if len(a) != len(b):
        raise DataError(
            f"a paired comparison needs the same rows on both sides, but there are {len(a)} and "
            f"{len(b)} scores; score both models on the same test rows"
        )
    values = _checked(a, confidence) - _checked(b, confidence)
    mean = float(values.mean())
    if _few_differ(values):
        half = (1 + confidence) / 2
        gain_low, gain_high = _wilson(values.clip(min=0), half)
        loss_low, loss_high = _wilson((-values).clip(min=0), half)
        low, high, method = gain_low - loss_high, gain_high - loss_low, "wilson-bounded"
    else:
        low, high, method = _bootstrap(values, confidence, seed)
    return _interval(mean, (max(low, -1.0), min(high, 1.0)), values.size, method, confidence)


def _interval(
    mean: float, ends: tuple[float, float], n: int, method: str, confidence: float
) -> Interval:
    low, high = min(ends[0], mean), max(ends[1], mean)
    return Interval(mean=mean, low=low, high=high, n=n, method=method, confidence=confidence)


def _checked(scores: Sequence[float], confidence: float) -> Any:
    """The scores as float64, rounded to 1e-9 so that float noise makes no distinct values."""
    import numpy as np

    if not 0 < confidence < 1:
        raise ConfigError(
            f"[evaluation.confidence] {confidence:g} is not between 0 and 1; write 0.95 for 95 %"
        )
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        raise DataError(
            "there is no scored row, so there is no mean; give the test split more rows "
            "([split] test, [evaluation] max_rows)"
        )
    if not (np.isfinite(values) & (values >= 0) & (values <= 1)).all():
        raise DataError("a score is not a number from 0 to 1; check the scorer that gave it")
    return values.round(9)


def _few_differ(values: Any) -> bool:
    import numpy as np

    _, counts = np.unique(values.round(9), return_counts=True)
    return bool(values.size - counts.max() < _FEW)


def _wilson(values: Any, confidence: float) -> tuple[float, float]:
    from scipy.stats import binomtest

    total = round(float(values.sum()), 6)
    least = binomtest(math.floor(total), values.size)
    most = binomtest(math.ceil(total), values.size)
    low = least.proportion_ci(confidence, method="wilson").low
    high = most.proportion_ci(confidence, method="wilson").high
    return float(low), float(high)


def _bootstrap(values: Any, confidence: float, seed: int) -> tuple[float, float, str]:
    import numpy as np
    from scipy.stats import bootstrap

    method = "bca" if values.size <= _BCA_ROWS else "percentile"
    result = bootstrap(
        (values,),
        np.mean,
        n_resamples=max(1_999, min(9_999, _DRAWS // values.size)),
        batch=max(1, _AT_ONCE // values.size),
        vectorized=True,
        confidence_level=confidence,
        method="BCa" if method == "bca" else "percentile",
        rng=np.random.default_rng(seed),
    )
    ends = result.confidence_interval
    return float(ends.low), float(ends.high), method
