"""Observations as logged calls, in the call-log schema of the core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy.model import Json, TraceRecord
from understudy_langfuse.answers import answer_of, finish_reason
from understudy_langfuse.ids import call_id
from understudy_langfuse.messages import request_of
from understudy_langfuse.shapes import Object, ShapeError, decoded, first, is_object
from understudy_langfuse.tools import tool_definitions

__all__ = ["CONFIG_KEYS", "Judgement", "Observation", "record"]

CONFIG_KEYS = (
    "attributes",
    "tools",
    "functions",
    "response_format",
    "finish_reason",
    "stop_reason",
)
"""Keys of metadata that may hold tool definitions or why an answer ended: never cut."""

_NOT_METADATA = frozenset({"resourceAttributes", "scope", *CONFIG_KEYS})
_TOOLS = ("gen_ai.tool.definitions", "ai.prompt.tools", "llm.request.functions")
_FINISH = ("gen_ai.response.finish_reasons", "ai.response.finishReason")


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The fields of an observation that a call is made of; ``start`` is when it began."""

    id: str
    trace: str
    start: str | None = None
    name: str | None = None
    level: str | None = None
    status: str | None = None
    model: str | None = None
    session: str | None = None
    environment: str | None = None
    trace_name: str | None = None
    tags: tuple[str, ...] = ()
    input: Json = field(default=None, repr=False)
    output: Json = field(default=None, repr=False)
    parameters: Mapping[str, Json] = field(default_factory=dict[str, Json])
    usage: Mapping[str, int] = field(default_factory=dict[str, int])
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Json], repr=False)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What people and evaluators said of a call: numbers, words, and a better answer."""

    numbers: Mapping[str, float] = field(default_factory=dict[str, float])
    words: Mapping[str, str] = field(default_factory=dict[str, str])
    correction: str | None = field(default=None, repr=False)


def record(given: Observation, judgement: Judgement) -> TraceRecord:
    """The call of an observation, or what is wrong with it; nothing is left out in silence."""
    identity = call_id(given.trace, given.id)
    try:
        call = _call(given, judgement)
    except ShapeError as error:
        value = {"id": identity, "input": given.input, "output": given.output}
        return TraceRecord(value=value, place=error.place, problem=error.message)
    return TraceRecord(value={"id": identity, **call})


def _call(given: Observation, judgement: Judgement) -> Object:
    request = request_of(given.input)
    call: Object = {
        "conversation_id": given.session or given.trace,
        "messages": request.messages,
        "response": _response(given),
        "metadata": _metadata(given, judgement),
    }
    tools = request.tools or _tools(given)
    optional = {
        "at": given.start,
        "model": given.model,
        "tools": tools or None,
        "parallel_tool_calls": request.parallel,
        "scores": dict(judgement.numbers) or None,
        "reference": judgement.correction,
        "error": _error(given),
    }
    return call | {name: value for name, value in optional.items() if value is not None}


def _error(given: Observation) -> str | None:
    return (given.status or "the call failed") if given.level == "ERROR" else None


def _response(given: Observation) -> Object | None:
    answer = answer_of(given.output)
    if answer is None:
        return None
    made: Object = {"message": answer.message}
    finish = answer.finish or _finish(given.metadata)
    if finish:
        made["finish_reason"] = finish
    if given.usage:
        made["usage"] = dict(given.usage)
    return made


def _attributes(metadata: Mapping[str, Json]) -> Object:
    found = decoded(metadata.get("attributes"))
    return found if is_object(found) else {}


def _finish(metadata: Mapping[str, Json]) -> str | None:
    return finish_reason(
        first(metadata, "finish_reason", "stop_reason") or first(_attributes(metadata), *_FINISH)
    )


def _tools(given: Observation) -> list[Object]:
    """Tool definitions that did not come with the input."""
    for place in (given.parameters, given.metadata, _attributes(given.metadata)):
        found = first(place, "tools", "functions", *_TOOLS)
        if found is not None:
            return tool_definitions(found)
    return []


def _metadata(given: Observation, judgement: Judgement) -> Object:
    own: dict[str, Any] = {
        "name": given.name,
        "trace_name": given.trace_name,
        "environment": given.environment,
        "tags": list(given.tags) or None,
        "parameters": dict(given.parameters) or None,
        "scores": dict(judgement.words) or None,
    }
    kept = {key: value for key, value in given.metadata.items() if key not in _NOT_METADATA}
    langfuse = {name: value for name, value in own.items() if value is not None}
    return {**kept, "langfuse": langfuse}
