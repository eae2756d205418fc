"""Cleaning filters: the ones that come with Understudy, and how any of them is made.

Each looks at one conversation and keeps it, drops it with a reason, or puts another in its place.
What concerns several rows at once (duplicates, near-duplicates, the held-out set) is in
``understudy.data.choose``.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from understudy.errors import ConfigError, PluginLoadError
from understudy.hookspecs import Filter, FilterSpec
from understudy.recipe import FilterUse
from understudy.validation import nearest, parse

__all__ = ["BUILTIN", "Chosen", "choose_filters", "make_filter"]

BUILTIN = (
    FilterSpec(
        name="truncated",
        target="understudy.data.filters.answers:Truncated",
        help="the answer was cut off: by its finish reason, in its JSON, in a sentence",
    ),
    FilterSpec(
        name="refusal",
        target="understudy.data.filters.answers:Refusal",
        help="the model declined instead of answering",
    ),
    FilterSpec(
        name="failed",
        target="understudy.data.filters.answers:Failed",
        help="the answer is an error message of a program",
    ),
    FilterSpec(
        name="incomplete_turns",
        target="understudy.data.filters.turns:IncompleteTurns",
        help="a turn is missing or says nothing",
    ),
    FilterSpec(
        name="length",
        target="understudy.data.filters.turns:Length",
        help="too long or too short, in tokens, words or messages",
    ),
    FilterSpec(
        name="test_traffic",
        target="understudy.data.filters.turns:TestTraffic",
        help="calls of tests, monitors and people who try the keyboard",
    ),
    FilterSpec(
        name="score",
        target="understudy.data.filters.scores:Score",
        help="a logged score is too low or too high",
    ),
    FilterSpec(
        name="hallucination",
        target="understudy.data.filters.scores:Hallucination",
        help="a logged score says that the answer was made up",
    ),
    FilterSpec(
        name="language",
        target="understudy.data.filters.language:Language",
        help="written in another language than the ones allowed",
    ),
    FilterSpec(
        name="schema",
        target="understudy.data.filters.schema:Schema",
        help="the answer does not fit the task's JSON schema",
    ),
    FilterSpec(
        name="personal_data",
        target="understudy.data.filters.personal:PersonalData",
        help="holds e-mail addresses, phone numbers, card numbers or keys",
    ),
)


class Chosen(NamedTuple):
    """A filter that a recipe uses: enough to make it in another process."""

    name: str
    target: str
    options: dict[str, Any]


def choose_filters(uses: Iterable[FilterUse], plugins: Mapping[str, FilterSpec]) -> list[Chosen]:
    """The filters that a recipe declares, with their options checked and complete.

    Args:
        uses: ``[[cleaning.filters]]``.
        plugins: filters of plugins, by name.

    Raises:
        ConfigError: an unknown filter or option, or a value that cannot work.
        PluginLoadError: a filter cannot be imported.
    """
    known = {spec.name: spec for spec in BUILTIN} | dict(plugins)
    chosen = []
    for number, use in enumerate(uses):
        where = f"[cleaning.filters.{number}]"
        spec = known.get(use.use)
        if spec is None:
            raise ConfigError(f"{where} use: there is no such filter: {nearest(use.use, known)}")
        options = parse(_load(spec).Options, use.options, where=f"{where} {use.use}")
        chosen.append(Chosen(spec.name, spec.target, options.model_dump(mode="json")))
    return chosen


def make_filter(chosen: Chosen) -> Filter:
    """The filter itself, imported now."""
    made = _load(FilterSpec(name=chosen.name, target=chosen.target, help=""))
    result: Filter = made(options=made.Options.model_validate(chosen.options))
    return result


def _load(spec: FilterSpec) -> Any:
    module, _, name = spec.target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise PluginLoadError(
            f"the filter {spec.name!r} needs {error.name or spec.target}, which is not installed; "
            "run: pip install 'understudy[data]'"
        ) from error
