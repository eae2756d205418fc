"""Sources: the ones that come with Understudy, and how the calls of any of them are reached.

Every source ends in the same place, calls in the call-log schema (docs/data.md), so that what
follows knows one form.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from understudy.errors import ConfigError, PluginLoadError
from understudy.hookspecs import FileReader, LineReader, TraceSourceSpec
from understudy.recipe import Source
from understudy.validation import nearest, parse

__all__ = [
    "BUILTIN",
    "PLAIN",
    "checked_options",
    "file_reader",
    "line_reader",
    "load_target",
    "source_spec",
]

PLAIN = ("calls", "chat", "preference")
"""Kinds whose lines are rows as they stand."""

BUILTIN = (
    TraceSourceSpec(
        name="otel",
        target="understudy.data.sources.otel:Spans",
        help="OpenTelemetry GenAI spans, OTLP JSON, one export request a line",
        reads="lines",
    ),
    TraceSourceSpec(
        name="stored",
        target="understudy.data.sources.stored:StoredCompletions",
        help="OpenAI stored completions, one exported completion a line",
        reads="lines",
    ),
    TraceSourceSpec(
        name="csv",
        target="understudy.data.sources.tables:CsvFile",
        help="a CSV file with a mapping of its columns",
        reads="file",
    ),
    TraceSourceSpec(
        name="parquet",
        target="understudy.data.sources.tables:ParquetFile",
        help="a Parquet file with a mapping of its columns",
        reads="file",
    ),
)


def source_spec(source: Source, plugins: Mapping[str, TraceSourceSpec]) -> TraceSourceSpec | None:
    """What reads ``source``; None where its lines are rows as they stand.

    Raises:
        ConfigError: there is no such source, or a kind that has no options was given some.
    """
    if source.kind in PLAIN:
        if source.options:
            raise ConfigError(
                f"[source.options] {source.kind!r} has none; leave "
                f"{', '.join(sorted(source.options))} out, or give another source.kind"
            )
        return None
    known = {spec.name: spec for spec in BUILTIN} | dict(plugins)
    spec = known.get(source.kind)
    if spec is None:
        raise ConfigError(
            "[source.kind] there is no such source: "
            f"{nearest(source.kind, {*PLAIN, *known})} Is a plugin missing?"
        )
    return spec


def load_target(spec: TraceSourceSpec) -> Any:
    """The class behind a source, imported now.

    Raises:
        PluginLoadError: it cannot be imported.
    """
    module, _, name = spec.target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise PluginLoadError(
            f"the source {spec.name!r} needs {error.name or spec.target}, which is not installed; "
            "run: pip install 'understudy[data]'"
        ) from error


def checked_options(spec: TraceSourceSpec, options: Mapping[str, Any]) -> dict[str, Any]:
    """``[source.options]`` checked and complete, as JSON.

    Raises:
        ConfigError: an unknown name, or a value that cannot work.
    """
    checked = parse(load_target(spec).Options, options, where=f"[source.options] {spec.name}")
    dumped: dict[str, Any] = checked.model_dump(mode="json")
    return dumped


def line_reader(reader: tuple[str, dict[str, Any]]) -> LineReader:
    """The line reader at a dotted path, with options that were checked."""
    made: LineReader = _make(*reader)
    return made


def file_reader(spec: TraceSourceSpec, options: Mapping[str, Any]) -> FileReader:
    """The file reader of a source, with options that were checked."""
    made: FileReader = _make(spec.target, options)
    return made


def _make(target: str, options: Mapping[str, Any]) -> Any:
    module, _, name = target.partition(":")
    cls = getattr(importlib.import_module(module), name)
    return cls(options=cls.Options.model_validate(dict(options)))
