"""The forms that an answer can take: text, a JSON object, function calls."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from understudy_sandbox.learner.fields import ABSENT, Field
from understudy_sandbox.learner.rows import Answer, Call

if TYPE_CHECKING:
    from understudy_sandbox.learner.linear import Part, Score
    from understudy_sandbox.learner.space import Space

Path: TypeAlias = tuple[str, ...]

TEXT, OBJECT, CALLS = "text", "object", "calls"


class Form(Protocol):
    """A way of answering, learned from the rows that answer so."""

    def learn(self, part: Part) -> None:
        """Part of a pass over the training rows."""

    def measure(self) -> list[Score]:
        """Scores over the training rows."""

    def measure_on(self, answers: Sequence[Answer], space: Space) -> list[Score]:
        """Scores over other rows."""

    def answers(self, space: Space) -> list[Answer]:
        """The answer to every row."""


def parsed(text: str | None) -> dict[str, Any] | None:
    """The JSON object that a text is, or None."""
    if not text or not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def form_of(answer: Answer) -> str:
    """The name of the form that an answer takes; calls are named with their functions."""
    if answer.calls:
        return " ".join([CALLS, *(call.name for call in answer.calls)])
    return TEXT if parsed(answer.content) is None else OBJECT


def flat(value: Mapping[str, Any], at: Path = ()) -> dict[Path, Any]:
    """The leaves of a nested object by path; lists and empty objects are leaves."""
    leaves: dict[Path, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            leaves.update(flat(inner, (*at, key)))
        else:
            leaves[(*at, key)] = inner
    return leaves


def nested(leaves: Sequence[tuple[Path, Any]]) -> dict[str, Any]:
    """The object of leaves in order; the inverse of ``flat``."""
    root: dict[str, Any] = {}
    for path, value in leaves:
        here = root
        for key in path[:-1]:
            inner = here.setdefault(key, {})
            if not isinstance(inner, dict):
                break
            here = inner
        else:
            here[path[-1]] = value
    return root


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Writer:
    """Writes objects the way the training rows were written: separators, indent, escapes."""

    _STYLES: tuple[dict[str, Any], ...] = tuple(
        {**style, "ensure_ascii": escaped}
        for escaped in (False, True)
        for style in (
            {"separators": (", ", ": ")},
            {"separators": (",", ":")},
            {"indent": 2},
            {"indent": 4},
        )
    )

    def __init__(self, texts: Sequence[str]) -> None:
        fits = Counter(
            {
                i: sum(json.dumps(json.loads(t), **style) == t.strip() for t in texts[:100])
                for i, style in enumerate(self._STYLES)
            }
        )
        self._style = self._STYLES[max(fits, key=lambda i: (fits[i], -i))]

    def text(self, value: Any) -> str:
        """The object as text."""
        text = json.dumps(value, **self._style)
        # Half of a surrogate pair can be escaped, not encoded.
        return text if text.isascii() or _encodes(text) else json.dumps(value)


class ObjectForm:
    """A JSON object, field by field."""

    def __init__(self, texts: Sequence[str], space: Space, *, seed: int, rate: float) -> None:
        rows = [flat(parsed(t) or {}) for t in texts]
        places: dict[Path, list[int]] = defaultdict(list)
        for row in rows:
            for i, path in enumerate(row):
                places[path].append(i)
        # A path seen once in a hundred rows is a slip of the teacher's.
        kept = [p for p, seen in places.items() if len(seen) >= max(1, len(rows) // 100)]
        self._paths = sorted(kept, key=lambda p: sum(places[p]) / len(places[p]))
        self._writer = Writer(texts)
        self._fields = [
            Field([row.get(path, ABSENT) for row in rows], space, seed=seed + i, rate=rate)
            for i, path in enumerate(self._paths)
        ]

    def learn(self, part: Part) -> None:
        """Part of a pass over the training rows."""
        for field in self._fields:
            field.learn(part)

    def measure(self) -> list[Score]:
        """Scores over the training rows, one or two a field."""
        return [score for field in self._fields for score in field.measure()]

    def measure_on(self, texts: Sequence[str], space: Space) -> list[Score]:
        """Scores over other rows."""
        rows = [flat(parsed(t) or {}) for t in texts]
        return [
            score
            for path, field in zip(self._paths, self._fields, strict=True)
            for score in field.measure_on([row.get(path, ABSENT) for row in rows], space)
        ]

    def texts(self, space: Space) -> list[str]:
        """The object for every row, written as in training."""
        columns = [field.predict(space) for field in self._fields]
        made = []
        known: dict[str, str] = {}
        for i in range(len(space.prompts)):
            leaves = [(p, c[i]) for p, c in zip(self._paths, columns, strict=True)]
            # Most rows say what another one said; 1 and True are equal, but not so written.
            said = repr(leaves)
            if said not in known:
                there = [(p, v) for p, v in leaves if v is not ABSENT]
                known[said] = self._writer.text(nested(there))
            made.append(known[said])
        return made


class JsonAnswer:
    """Content that is a JSON object."""

    def __init__(self, answers: Sequence[Answer], space: Space, *, seed: int, rate: float) -> None:
        self._object = ObjectForm([a.content or "" for a in answers], space, seed=seed, rate=rate)
        self.learn = self._object.learn
        self.measure = self._object.measure

    def measure_on(self, answers: Sequence[Answer], space: Space) -> list[Score]:
        """Scores over other rows."""
        return self._object.measure_on([a.content or "" for a in answers], space)

    def answers(self, space: Space) -> list[Answer]:
        """The answer to every row."""
        return [Answer(content=text) for text in self._object.texts(space)]


class TextAnswer:
    """Plain content: a label, a copied span, or the answer of the nearest known question."""

    def __init__(self, answers: Sequence[Answer], space: Space, *, seed: int, rate: float) -> None:
        self._field = Field([a.content or "" for a in answers], space, seed=seed, rate=rate)
        self.learn = self._field.learn
        self.measure = self._field.measure

    def measure_on(self, answers: Sequence[Answer], space: Space) -> list[Score]:
        """Scores over other rows."""
        return self._field.measure_on([a.content or "" for a in answers], space)

    def answers(self, space: Space) -> list[Answer]:
        """The answer to every row."""
        return [Answer(content=str(v) if v is not None else "") for v in self._field.predict(space)]


class CallsAnswer:
    """A fixed sequence of function calls, their arguments learned as objects."""

    def __init__(self, answers: Sequence[Answer], space: Space, *, seed: int, rate: float) -> None:
        self._names = [call.name for call in answers[0].calls]
        self._content = answers[0].content
        self._arguments = [
            ObjectForm(
                [a.calls[i].arguments if parsed(a.calls[i].arguments) else "{}" for a in answers],
                space,
                seed=seed + 100 * i,
                rate=rate,
            )
            for i in range(len(self._names))
        ]

    def learn(self, part: Part) -> None:
        """Part of a pass over the training rows."""
        for arguments in self._arguments:
            arguments.learn(part)

    def measure(self) -> list[Score]:
        """Scores over the training rows."""
        return [score for arguments in self._arguments for score in arguments.measure()]

    def measure_on(self, answers: Sequence[Answer], space: Space) -> list[Score]:
        """Scores over other rows."""
        return [
            score
            for i, arguments in enumerate(self._arguments)
            for score in arguments.measure_on([a.calls[i].arguments for a in answers], space)
        ]

    def answers(self, space: Space) -> list[Answer]:
        """The answer to every row."""
        columns = [arguments.texts(space) for arguments in self._arguments]
        return [
            Answer(
                content=self._content,
                calls=tuple(
                    Call(name=name, arguments=column[i])
                    for name, column in zip(self._names, columns, strict=True)
                ),
            )
            for i in range(len(space.prompts))
        ]
