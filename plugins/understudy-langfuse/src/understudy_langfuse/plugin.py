"""What the plugin brings, as data: nothing here imports the SDK."""

from __future__ import annotations

from collections.abc import Iterable

from understudy.hookspecs import ScoreSinkSpec, TraceSinkSpec, TraceSourceSpec, hookimpl

_NAME = "langfuse"


@hookimpl
def understudy_trace_sources() -> Iterable[TraceSourceSpec]:
    """Calls that an application traced with Langfuse."""
    yield TraceSourceSpec(
        name=_NAME,
        target="understudy_langfuse.source:LangfuseSource",
        help="generations of a Langfuse project (v2 observations), with their scores",
        reads="service",
    )


@hookimpl
def understudy_trace_sinks() -> Iterable[TraceSinkSpec]:
    """Calls that were answered here, as traces."""
    yield TraceSinkSpec(
        name=_NAME,
        target="understudy_langfuse.trace_sink:LangfuseTraceSink",
        help="every call as a generation, by OTLP",
    )


@hookimpl
def understudy_score_sinks() -> Iterable[ScoreSinkSpec]:
    """Scores, dataset items and experiments."""
    yield ScoreSinkSpec(
        name=_NAME,
        target="understudy_langfuse.score_sink:LangfuseScoreSink",
        help="scores, dataset items and experiments",
    )
