"""One value of an answer: decided among known ones, copied from the question, or looked up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from understudy_sandbox.learner.linear import Decision, Part, Score, pooled
from understudy_sandbox.learner.spans import Copier, Span, Tagger, locate, text_of

if TYPE_CHECKING:
    from understudy_sandbox.learner.space import Space

ABSENT: Final = type("Absent", (), {"__repr__": lambda _: "ABSENT"})()
_ABSENT, _NULL, _COPY = "absent", "null", "copy"
_MAX_CLASSES = 2000
_NEAREST_CHUNK = 200


def _key(value: Any) -> str:
    if value is ABSENT:
        return _ABSENT
    return json.dumps(value)


def _value(key: str) -> Any:
    return ABSENT if key == _ABSENT else json.loads(key)


def _there(value: Any) -> bool:
    return value is not ABSENT and value is not None


def spans_in(value: Any, space: Space, row: int) -> list[Span] | None:
    """Where a row's source spells the value (each element of a list), None where it does not."""
    wanted = value if isinstance(value, list) else [value]
    found = [locate(v, space.tokens[row]) for v in wanted]
    return None if any(f is None for f in found) else [f for f in found if f is not None]


class Field:
    """Learns one value of the answer from training rows.

    Args:
        values: the value in each training row; ABSENT where the row has none.
        space: the training rows.
        seed: makes training repeatable.
        rate: multiplies the learning rate.
    """

    def __init__(self, values: Sequence[Any], space: Space, *, seed: int, rate: float) -> None:
        self._space = space
        self._values = values
        self._copier: Copier | None = None
        self._tagger: Tagger | None = None
        self._many = any(isinstance(v, list) for v in values)
        spans = self._alignment()
        self._labels = [_key(v) for v in values]
        self._missing = self._usual_missing()
        # A value that no training row lacks is not left out later either.
        self._always = all(_there(v) for v in values)
        if spans is not None:
            self._start_copying(spans, seed=seed, rate=rate)
        self._nearest = self._copier is None and self._is_free_text()
        self._decision: Decision | None = None
        if not self._nearest and (self._copier is None or not self._tagger_decides()):
            self._decision = Decision(
                self._labels, columns=space.matrix.shape[1], seed=seed, rate=rate
            )

    def _alignment(self) -> list[list[Span] | None] | None:
        there = [i for i, v in enumerate(self._values) if _there(v) and v != []]
        if len(there) < 3 or len({_key(self._values[i]) for i in there}) == 1:
            return None
        kinds = (str, int, float, list)
        if any(
            isinstance(v, bool) or not isinstance(v, kinds)
            for v in (self._values[i] for i in there)
        ):
            return None
        spans: list[list[Span] | None] = [[] for _ in self._values]
        for i in there:
            spans[i] = spans_in(self._values[i], self._space, i)
        aligned = sum(spans[i] is not None for i in there)
        return spans if aligned >= len(there) / 2 else None

    def _usual_missing(self) -> Any:
        missing = Counter(_key(v) for v in self._values if not _there(v) or v == [])
        return _value(missing.most_common(1)[0][0]) if missing else None

    def _start_copying(self, spans: list[list[Span] | None], *, seed: int, rate: float) -> None:
        pairs = []
        for i, found in enumerate(spans):
            value = self._values[i]
            wanted = value if isinstance(value, list) else [value]
            pairs += [
                (text_of(self._space, i, s), v) for s, v in zip(found or (), wanted, strict=False)
            ]
            if found:
                self._labels[i] = _COPY
        self._copier = Copier(pairs)
        self._tagger = Tagger(spans, self._space, seed=seed, rate=rate)
        # What is written otherwise only once or twice is noise, not another way to answer.
        often = Counter(self._labels)
        floor = max(3, len(self._labels) // 200)
        self._labels = [
            k if k in {_COPY, _ABSENT, _NULL, "[]"} or often[k] >= floor else _COPY
            for k in self._labels
        ]

    def _tagger_decides(self) -> bool:
        return set(self._labels) <= {_COPY, _ABSENT, _NULL, "[]"}

    def _is_free_text(self) -> bool:
        kinds = set(self._labels)
        if len(kinds) > _MAX_CLASSES:
            return True
        mean = sum(map(len, self._labels)) / len(self._labels)
        return len(kinds) > 0.6 * len(self._labels) and mean > 40

    def learn(self, part: Part) -> None:
        """Part of a pass over the training rows."""
        if self._tagger is not None:
            self._tagger.learn(part)
        if self._decision is not None:
            self._decision.learn(self._space.matrix, part)

    def measure(self) -> list[Score]:
        """Scores over the training rows, one for each decision that this field takes."""
        scores = [self._tagger.measure()] if self._tagger is not None else []
        if self._decision is not None:
            scores.append(self._decision.measure(self._space.matrix))
        return scores or [self._nearest_score(self._space, self._values, leave_out=True)]

    def measure_on(self, values: Sequence[Any], space: Space) -> list[Score]:
        """Scores over other rows."""
        if self._nearest:
            return [self._nearest_score(space, values, leave_out=False)]
        scores, labels = [], [_key(v) for v in values]
        if self._tagger is not None:
            spans = [spans_in(v, space, i) if _there(v) else [] for i, v in enumerate(values)]
            scores.append(self._tagger.measure_on(spans, space))
            labels = [_COPY if found else k for found, k in zip(spans, labels, strict=True)]
        if self._decision is not None:
            scores.append(self._decision.measure(space.matrix, labels))
        return scores

    def predict(self, space: Space) -> list[Any]:
        """The value for every row; ABSENT where the answer should not have it."""
        if self._nearest:
            best, _ = self._neighbours(space)
            return [self._values[i] for i in best]
        count = len(space.prompts)
        labels = [_COPY] * count
        if self._decision is not None:
            labels = self._decision.choose(space.matrix)
        values = {k: _value(k) for k in set(labels) - {_COPY}}
        if self._tagger is None or self._copier is None:
            return [values[k] for k in labels]
        always = [self._always or (self._decision is not None and k == _COPY) for k in labels]
        found = self._tagger.find(space, many=self._many, always=always)
        return [
            self._copied(space, i, found[i]) if k == _COPY else values[k]
            for i, k in enumerate(labels)
        ]

    def _copied(self, space: Space, row: int, spans: Sequence[Span]) -> Any:
        assert self._copier is not None
        values = [self._copier.value(text_of(space, row, s)) for s in spans]
        values = [v for v in values if v is not None]
        if not values:
            return self._missing
        return values if self._many else values[0]

    def _neighbours(
        self, space: Space, *, leave_out: bool = False
    ) -> tuple[list[int], list[float]]:
        best: list[int] = []
        near: list[float] = []
        reference = self._space.matrix
        for at in range(0, len(space.prompts), _NEAREST_CHUNK):
            likeness = (space.matrix[at : at + _NEAREST_CHUNK] @ reference.T).toarray()
            if leave_out:
                rows = np.arange(likeness.shape[0])
                likeness[rows, rows + at] = -1.0
            picked = likeness.argmax(axis=1)
            best += [int(i) for i in picked]
            near += [float(v) for v in likeness[np.arange(len(picked)), picked]]
        return best, near

    def _nearest_score(self, space: Space, values: Sequence[Any], *, leave_out: bool) -> Score:
        limit = min(len(values), 500)
        part = space.subset(range(limit))
        best, near = self._neighbours(part, leave_out=leave_out and limit == len(part.prompts))
        right = sum(self._values[b] == values[i] for i, b in enumerate(best))
        # Two unit-length blocks: 2.0 is the likeness of equal questions.
        loss = sum(max(0.0, 1 - n / 2) for n in near) / max(1, limit)
        return Score(loss=loss, accuracy=right / max(1, limit), weight=limit)


def pooled_or_zero(scores: Sequence[Score]) -> Score:
    """The pooled score; a zero where a model has nothing to decide."""
    return pooled(scores) or Score(loss=0.0, accuracy=1.0, weight=0)
