"""Scorers: how near an answer is to its reference, from 0 (wrong) to 1 (right).

A scorer is a plain function of two texts. The built-in ones are described by the same
``ScorerSpec`` data as a plugin's and loaded the same way. None of them raises on any text.
"""

from __future__ import annotations

import importlib
import json
import traceback
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.errors import ConfigError, DataError, PluginError, PluginLoadError
from understudy.hookspecs import ScorerSpec
from understudy.model import Json
from understudy.validation import nearest

__all__ = [
    "BUILTIN",
    "Scorer",
    "exact",
    "json_exact",
    "json_f1",
    "load_scorer",
    "normalised",
    "resolve",
    "score_rows",
]

Scorer = Callable[[str, str], float]
"""``(answer, reference) -> score`` in [0, 1]."""

_OPENING = frozenset("\"'`¡¿")
_CLOSING = frozenset("\"'`.,;:!?…。、·।؟")


def exact(answer: str, reference: str) -> float:
    """1 where both texts are the same, surrounding whitespace aside, else 0."""
    return float(answer.strip() == reference.strip())


def normalised(answer: str, reference: str) -> float:
    """1 where both texts are the same after Unicode NFKC, case folding and tidying, else 0.

    Runs of whitespace count as one space; quotes, brackets and sentence marks around the whole
    text are left out. Signs that carry meaning stay: ``-5``, ``.5`` and ``5%`` are not ``5``.
    """
    return float(_normalise(answer) == _normalise(reference))


def json_exact(answer: str, reference: str) -> float:
    """1 where both texts are the same JSON value, else 0.

    Key order does not count, the order of lists does; 1 and 1.0 are equal, 1 and true are not.
    An answer that is not JSON scores 0; see ``json_f1`` for a reference that is not.
    """
    return _compare_json(answer, reference, _equal_leaves)


def json_f1(answer: str, reference: str) -> float:
    """F1 over the fields of two JSON values: every leaf is a field, named by its path.

    A list of plain values is a bag: order does not count, repetition does. Objects and lists
    inside a list keep their place, so that the fields of two objects never mix. An empty object
    or list is a leaf. Numbers compare by value (1 is 1.0, not true). An answer that is not
    strict JSON scores 0, Markdown fences included: whoever parses it would fail too. Where the
    *reference* is not JSON there are no fields, and the texts are compared as by ``exact``.
    """
    return _compare_json(answer, reference, _f1_of_leaves)


BUILTIN: tuple[ScorerSpec, ...] = (
    ScorerSpec(name="exact", target=f"{__name__}:exact", help="same text"),
    ScorerSpec(
        name="normalised",
        target=f"{__name__}:normalised",
        help="same text but for case, whitespace, Unicode form and surrounding punctuation",
    ),
    ScorerSpec(
        name="json_f1", target=f"{__name__}:json_f1", help="F1 over the fields of a JSON answer"
    ),
    ScorerSpec(name="json_exact", target=f"{__name__}:json_exact", help="same JSON value"),
)
"""The scorers of the core, as data."""


def load_scorer(spec: ScorerSpec) -> Scorer:
    """The scorer that ``spec`` points to, wrapped so that a wrong result cannot pass unseen.

    Raises:
        PluginLoadError: the target cannot be imported or is not callable.
    """
    module_name, _, attribute = spec.target.partition(":")
    try:
        target: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            target = getattr(target, part)
    except Exception as error:
        raise PluginLoadError(
            f"scorer {spec.name!r}: {spec.target!r} cannot be loaded ({error}); reinstall or "
            "update the plugin that brings it, or choose another scorer in [evaluation]"
        ) from error
    if not callable(target):
        raise PluginLoadError(
            f"scorer {spec.name!r}: {spec.target!r} is {type(target).__name__}, not a function; "
            "point the spec to a function (answer: str, reference: str) -> float"
        )
    return _Checked(name=spec.name, function=target)


def resolve(name: str, specs: Iterable[ScorerSpec] = BUILTIN) -> Scorer:
    """The scorer called ``name`` among ``specs`` (the built-in ones and the plugins').

    Raises:
        ConfigError: no spec has that name; the nearest one is named.
        PluginLoadError: its code cannot be loaded.
    """
    known = {spec.name: spec for spec in specs}
    if name not in known:
        raise ConfigError(f"[evaluation.scorer] {name!r} is not a scorer: {nearest(name, known)}")
    return load_scorer(known[name])


def score_rows(
    scorer: Scorer, answers: Sequence[str | None], references: Sequence[str]
) -> list[float]:
    """One score a row; a row without an answer (``None``: the request failed) scores 0.

    Raises:
        DataError: the two sequences differ in length.
        PluginError: the scorer broke or gave something other than a number in [0, 1].
    """
    if len(answers) != len(references):
        raise DataError(
            f"{len(answers)} answers were given for {len(references)} references; score each row "
            "once, with None where no answer came"
        )
    return [
        0.0 if answer is None else scorer(answer, reference)
        for answer, reference in zip(answers, references, strict=True)
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Checked:
    name: str
    function: Callable[[str, str], Any]

    def __call__(self, answer: str, reference: str) -> float:
        try:
            score = self.function(answer, reference)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{frame.name}, line {frame.lineno}"
            # Without the cause: its message may quote the row, and row text stays in the dataset.
            raise PluginError(
                f"scorer {self.name!r} broke with {type(error).__name__} in {place}; report it to "
                "the plugin's author or choose another scorer in [evaluation]"
            ) from None
        if isinstance(score, int | float) and 0 <= score <= 1:
            return float(score)
        shown = score if isinstance(score, float) else type(score).__name__
        raise PluginError(
            f"scorer {self.name!r} gave {shown}, which is not a number from 0 to 1; report it to "
            "the plugin's author or choose another scorer in [evaluation]"
        )


def _normalise(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    words = " ".join(folded.split())
    start, end = 0, len(words)
    while start < end and _strippable(words[start], _OPENING, {"Pi", "Pf", "Ps", "Zs"}):
        start += 1
    while end > start and _strippable(words[end - 1], _CLOSING, {"Pi", "Pf", "Pe", "Zs"}):
        end -= 1
    # "?" and "!" are different answers: a text of nothing but marks is left as it is.
    return words[start:end] or words


def _strippable(character: str, marks: frozenset[str], categories: set[str]) -> bool:
    return character in marks or unicodedata.category(character) in categories


_Leaf = tuple[tuple[str | int, ...], str, Any]
"""Path, kind and value: the kind keeps 1 and true apart."""


def _compare_json(answer: str, reference: str, compare: Callable[[Json, Json], float]) -> float:
    try:
        wanted = _parse(reference)
    except (ValueError, RecursionError):
        return exact(answer, reference)
    try:
        given = _parse(answer)
    except (ValueError, RecursionError):
        return 0.0
    return compare(given, wanted)


def _parse(text: str) -> Json:
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> Json:
    raise ValueError(constant)


def _equal_leaves(given: Json, wanted: Json) -> float:
    return float(_leaves(given, bags=False) == _leaves(wanted, bags=False))


def _f1_of_leaves(given: Json, wanted: Json) -> float:
    mine, theirs = _leaves(given, bags=True), _leaves(wanted, bags=True)
    return 2 * (mine & theirs).total() / (mine.total() + theirs.total())


def _leaves(value: Json, *, bags: bool) -> Counter[_Leaf]:
    """Leaves with their paths; with ``bags`` plain values of one list share a path."""
    found: Counter[_Leaf] = Counter()
    stack: list[tuple[tuple[str | int, ...], Json]] = [((), value)]
    while stack:
        path, item = stack.pop()
        if isinstance(item, dict) and item:
            stack.extend(((*path, key), child) for key, child in item.items())
        elif isinstance(item, list) and item:
            stack.extend(
                ((*path, -1 if bags and not isinstance(child, dict | list) else index), child)
                for index, child in enumerate(item)
            )
        else:
            found[path, _kind(item), None if isinstance(item, dict | list) else item] += 1
    return found


def _kind(value: Json) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__
