"""Scores of calls: what the list says, brought to the calls of a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from understudy_langfuse.calls import Judgement, Observation
from understudy_langfuse.options import LangfuseOptions

__all__ = ["Said", "good_enough", "judgements", "trace_lists"]

_TRACES = 100  # in one request: more would make its address too long for many proxies


@dataclass(frozen=True, kw_only=True)
class Said:
    """One score. ``observation`` is None where it is of the whole trace; ``at`` orders them."""

    trace: str
    observation: str | None
    name: str
    kind: str
    value: float | bool | str
    at: float


def trace_lists(page: Sequence[Observation]) -> Iterator[str]:
    """The traces of a page, as lists that fit into a request each."""
    traces = list(dict.fromkeys(one.trace for one in page))
    for start in range(0, len(traces), _TRACES):
        yield ",".join(traces[start : start + _TRACES])


def judgements(page: Sequence[Observation], said: Iterable[Said]) -> dict[str, Judgement]:
    """What was said of each call of a page, by the observation's id and its trace's.

    A score of the observation goes before one of its trace, a later one before an earlier.
    """
    by_place: dict[tuple[str, str | None], dict[str, Said]] = {}
    for one in sorted(said, key=lambda one: one.at):
        by_place.setdefault((one.trace, one.observation), {})[one.name] = one
    return {
        f"{one.trace}/{one.id}": _judgement(
            by_place.get((one.trace, None), {}) | by_place.get((one.trace, one.id), {})
        )
        for one in page
    }


def _judgement(named: Mapping[str, Said]) -> Judgement:
    numbers: dict[str, float] = {}
    words: dict[str, str] = {}
    correction: str | None = None
    for name, one in named.items():
        if one.kind == "CORRECTION":
            correction = str(one.value)
        elif isinstance(one.value, str):
            words[name] = one.value
        else:
            numbers[name] = float(one.value)
    return Judgement(numbers=numbers, words=words, correction=correction)


def good_enough(judgement: Judgement, options: LangfuseOptions) -> bool:
    """Whether a call has the scores that are asked for."""
    return all(
        judgement.numbers.get(name, float("-inf")) >= least
        for name, least in options.min_score.items()
    )
