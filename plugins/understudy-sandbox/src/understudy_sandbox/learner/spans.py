"""Values that stand in the question: finding them in training rows, copying them afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from understudy_sandbox.learner.features import Token, tokens_of
from understudy_sandbox.learner.linear import Decision, Part, Score

if TYPE_CHECKING:
    from understudy_sandbox.learner.space import Space

Span: TypeAlias = tuple[int, int]

OUTSIDE, START, INSIDE = "O", "B", "I"


def number_in(text: str) -> float | None:
    """The number that a token spells, thousands separators allowed; None for anything else."""
    try:
        return float(text.replace(",", "")) if text[:1].isdigit() else None
    except ValueError:
        return None


def locate(value: Any, tokens: Sequence[Token]) -> Span | None:
    """First token span (start, end) of a text that spells the value, letter case aside."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if not isinstance(value, str):
        hits = (i for i, t in enumerate(tokens) if number_in(t.text) == float(value))
        return next(((i, i + 1) for i in hits), None)
    wanted = [t.text.casefold() for t in tokens_of(value)]
    if not wanted:
        return None
    low = [t.text.casefold() for t in tokens]
    width = len(wanted)
    hits = (i for i in range(len(low) - width + 1) if low[i : i + width] == wanted)
    return next(((i, i + width) for i in hits), None)


def _whole(text: str) -> Any:
    number = number_in(text)
    return None if number is None or number != int(number) else int(number)


_FORMS: Mapping[str, Callable[[str], Any]] = {
    "as it stands": str,
    "lower": str.lower,
    "title": str.title,
    "upper": str.upper,
    "capital": str.capitalize,
    "whole": _whole,
    "number": number_in,
}


class Copier:
    """How a field writes what it copies: known spellings first, else its usual form."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        spellings: dict[str, Counter[Any]] = {}
        fits: Counter[str] = Counter()
        for text, value in pairs:
            spellings.setdefault(text.casefold(), Counter())[value] += 1
            for name, form in _FORMS.items():
                made = form(text)
                fits[name] += made == value and type(made) is type(value)
        self._known = {key: seen.most_common(1)[0][0] for key, seen in spellings.items()}
        best = max(_FORMS, key=lambda name: fits[name])
        self._form = _FORMS[best]

    def value(self, text: str) -> Any:
        """The value written for a copied text; None where the field's form cannot hold it."""
        known = self._known.get(text.casefold())
        return self._form(text) if known is None else known


class Tagger:
    """Marks the tokens of a field: outside, start, inside."""

    def __init__(
        self, spans: Sequence[Sequence[Span] | None], space: Space, *, seed: int, rate: float
    ) -> None:
        self._labels, self._keep = tags_of(spans, space)
        self._x = space.token_matrix[self._keep]
        self._decision = Decision(self._labels, columns=self._x.shape[1], seed=seed, rate=rate)

    def learn(self, part: Part) -> None:
        """Part of a pass over the training tokens."""
        self._decision.learn(self._x, part)

    def measure(self) -> Score:
        """Loss and accuracy over training tokens."""
        return self._decision.measure(self._x)

    def measure_on(self, spans: Sequence[Sequence[Span] | None], space: Space) -> Score:
        """Loss and accuracy over the tokens of other rows."""
        labels, keep = tags_of(spans, space)
        return self._decision.measure(space.token_matrix[keep], labels)

    def find(self, space: Space, *, many: bool, always: Sequence[bool]) -> list[list[Span]]:
        """The spans of every row: all of them, or the single best.

        Args:
            space: the rows to read.
            many: whether a row may have more than one span.
            always: for each row, whether to take the best start even where none is likely.
        """
        raw = self._decision.scores(space.token_matrix)
        names = list(self._decision.classes)
        low = np.full(len(raw), -1e9)
        column = {
            n: raw[:, names.index(n)] if n in names else low for n in (OUTSIDE, START, INSIDE)
        }
        lead = column[START] - column[OUTSIDE]
        inside = column[INSIDE] > np.maximum(column[OUTSIDE], column[START])
        found: list[list[Span]] = []
        for row, (a, b) in enumerate(space.bounds):
            if a == b:
                found.append([])
                continue
            if many:
                starts = [i for i in range(a, b) if lead[i] > 0]
            else:
                best = a + int(lead[a:b].argmax())
                starts = [best] if lead[best] > 0 or always[row] else []
            found.append([(s - a, _end(s, b, inside) - a) for s in starts])
        return found


def _end(start: int, limit: int, inside: Any) -> int:
    end = start + 1
    while end < limit and inside[end]:
        end += 1
    return end


def tags_of(spans: Sequence[Sequence[Span] | None], space: Space) -> tuple[list[str], list[int]]:
    """Tags for the tokens of the rows whose spans are known, and those tokens' places."""
    labels: list[str] = []
    keep: list[int] = []
    for (a, b), row in zip(space.bounds, spans, strict=True):
        if row is None:
            continue
        tags = [OUTSIDE] * (b - a)
        for start, end in row:
            tags[start:end] = [START] + [INSIDE] * (end - start - 1)
        labels.extend(tags)
        keep.extend(range(a, b))
    return labels, keep


def text_of(space: Space, row: int, span: Span) -> str:
    """The source text under a token span of a row."""
    tokens = space.tokens[row]
    return space.prompts[row].source[tokens[span[0]].start : tokens[span[1] - 1].end]
