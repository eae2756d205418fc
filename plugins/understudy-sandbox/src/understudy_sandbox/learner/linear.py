"""One decision among labels: a linear model trained pass by pass, with its loss measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.linear_model import SGDClassifier

_ALPHA = 3e-5
_MEASURED_ROWS = 1500
_UNSEEN = 1e-6  # the probability given to a label that training never showed


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch of a pass over the rows: the pass's number, begin and end as shares of it."""

    number: int
    begin: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Mean log loss, share of right decisions, and the number of decisions they stand for."""

    loss: float
    accuracy: float
    weight: int


def pooled(scores: Sequence[Score]) -> Score | None:
    """The mean of several scores (one vote each), or nothing where there is nothing to pool."""
    counted = [s for s in scores if s.weight]
    if not counted:
        return None
    return Score(
        loss=sum(s.loss for s in counted) / len(counted),
        accuracy=sum(s.accuracy for s in counted) / len(counted),
        weight=sum(s.weight for s in counted),
    )


class Decision:
    """A linear classifier over a fixed matrix; a single label needs no model at all."""

    def __init__(
        self, labels: Sequence[str], *, columns: int, seed: int, rate: float = 1.0
    ) -> None:
        self._columns = columns
        self._weights: tuple[Any, Any] | None = None
        self.classes = np.unique(np.asarray(labels, dtype=object).astype(str))
        self._y = np.searchsorted(self.classes, np.asarray(labels, dtype=object).astype(str))
        self._seed = seed
        self._model: SGDClassifier | None = None
        if len(self.classes) > 1:
            alpha = min(1e-3, max(1e-6, _ALPHA / rate))
            self._model = SGDClassifier(loss="log_loss", alpha=alpha, random_state=seed % 2**31)

    def learn(self, x: Any, part: Part) -> None:
        """Part of a pass over the training matrix, in an order drawn from the seed."""
        if self._model is None:
            return
        order = np.random.default_rng((self._seed, part.number)).permutation(len(self._y))
        rows = order[round(part.begin * len(order)) : round(part.end * len(order))]
        if len(rows):
            self._model.partial_fit(x[rows], self._y[rows], classes=np.arange(len(self.classes)))
            self._weights = None

    def measure(self, x: Any, labels: Sequence[str] | None = None) -> Score:
        """Loss and accuracy on the training rows, or on others with their labels."""
        if labels is None:
            wanted = self._y[:_MEASURED_ROWS]
        else:
            index = {name: i for i, name in enumerate(self.classes)}
            wanted = np.array([index.get(v, -1) for v in labels[:_MEASURED_ROWS]], dtype=int)
        if not len(wanted):
            return Score(loss=0.0, accuracy=0.0, weight=0)
        p = self.probabilities(x[: len(wanted)])
        picked = np.where(wanted >= 0, p[np.arange(len(wanted)), wanted], 0.0)
        loss = float(-np.log(np.maximum(picked, _UNSEEN)).mean())
        right = float((p.argmax(axis=1) == wanted).mean())
        return Score(loss=loss, accuracy=right, weight=len(wanted))

    def probabilities(self, x: Any) -> Any:
        """Probability of every label, one row a text, columns as in ``classes``."""
        scores = self.scores(x)
        if len(self.classes) == 1:
            return np.ones_like(scores)
        p: Any = expit(scores)
        return p / np.maximum(p.sum(axis=1, keepdims=True), _UNSEEN)

    def scores(self, x: Any) -> Any:
        """Margins of every label, one row a text, columns as in ``classes``."""
        if self._weights is None:
            self._weights = self._taken()
        weights, offsets = self._weights
        # The model's own method checks its input anew for every small request.
        raw: Any = x @ weights + offsets
        return np.concatenate([-raw, raw], axis=1) if len(self.classes) == 2 else raw

    def _taken(self) -> tuple[Any, Any]:
        if self._model is None or not hasattr(self._model, "coef_"):
            columns = 1 if len(self.classes) <= 2 else len(self.classes)
            return np.zeros((self._columns, columns)), np.zeros(columns)
        return np.ascontiguousarray(self._model.coef_.T), self._model.intercept_

    def choose(self, x: Any) -> list[str]:
        """The best label for every row."""
        names = self.classes.tolist()
        return [names[i] for i in self.scores(x).argmax(axis=1).tolist()]
