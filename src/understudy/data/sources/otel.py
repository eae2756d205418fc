"""OpenTelemetry GenAI spans as calls: OTLP JSON as collectors write it to files.

Three generations of the semantic conventions are read: ``gen_ai.input.messages`` and
``gen_ai.output.messages`` (on the span or on an event of it), the events ``gen_ai.user.message``,
``gen_ai.choice`` and so on, and the numbered attributes ``gen_ai.prompt.0.content``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from understudy.backend import Params
from understudy.data.sources.genai import from_events, from_numbered, from_parts, tool_definitions
from understudy.model import Json, TraceRecord

__all__ = ["Spans"]

_ANSWERS = frozenset({"chat", "text_completion", "generate_content"})
_DETAILS = "gen_ai.client.inference.operation.details"
_EVALUATION = "gen_ai.evaluation.result"
_JSON = (
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
)

Object = dict[str, Any]


class Spans:
    """Every span of a model's answer is a call; other spans are passed over.

    Calls of one ``gen_ai.conversation.id``, else of one trace, belong together.
    """

    class Options(Params):
        pass

    def __init__(self, *, options: Options) -> None:
        pass

    def calls(self, value: Mapping[str, Json]) -> Iterable[TraceRecord]:
        """The calls in one export request (``resourceSpans``)."""
        if "resourceSpans" not in value:
            yield TraceRecord(
                value=value,
                place="resourceSpans",
                problem="is missing; is this OTLP JSON with one export request a line?",
            )
            return
        for resource in _objects(value["resourceSpans"]):
            about = _attributes((resource.get("resource") or {}).get("attributes"))
            for scope in _objects(resource.get("scopeSpans")):
                for span in _objects(scope.get("spans")):
                    yield from _calls(span, about)


def _calls(span: Object, about: Object) -> Iterator[TraceRecord]:
    said = _attributes(span.get("attributes"))
    events = [
        (str(event.get("name")), _attributes(event.get("attributes")))
        for event in _objects(span.get("events"))
    ]
    for name, attributes in events:
        if name == _DETAILS:
            said |= attributes
    operation = said.get("gen_ai.operation.name")
    if operation is not None and operation not in _ANSWERS:
        return
    if not any(name.startswith(("gen_ai.", "llm.")) for name in said):
        return
    try:
        yield TraceRecord(value=_call(span, said, events, about))
    except _BadSpanError as error:
        yield TraceRecord(value=span, place=error.place, problem=error.problem)


class _BadSpanError(Exception):
    def __init__(self, place: str, problem: str) -> None:
        self.place, self.problem = place, problem
        super().__init__(place, problem)


def _call(span: Object, said: Object, events: list[tuple[str, Object]], about: Object) -> Object:
    for name in _JSON:
        if isinstance(said.get(name), str):
            said[name] = _loaded(name, said[name])
    asked, answer, finish = _exchange(said, events)
    if not asked:
        raise _BadSpanError(
            "gen_ai.input.messages",
            "the span holds no messages; turn on the capture of content where it is recorded",
        )
    failed = _failed(span)
    call: Object = {
        "id": f"{span.get('traceId')}:{span.get('spanId')}",
        "conversation_id": said.get("gen_ai.conversation.id")
        or said.get("session.id")
        or span.get("traceId"),
        "at": _time(span.get("startTimeUnixNano")),
        "model": said.get("gen_ai.response.model") or said.get("gen_ai.request.model"),
        "messages": asked,
        "response": {"message": answer, "finish_reason": finish} if answer else None,
        "tools": tool_definitions(said.get("gen_ai.tool.definitions")),
        "scores": _scores(events),
        "metadata": _metadata(about),
    }
    if failed:
        call["error"] = failed
    return call


def _exchange(
    said: Object, events: list[tuple[str, Object]]
) -> tuple[list[Object], Object | None, str | None]:
    """The request's messages, the answer, and why it ended."""
    try:
        if said.get("gen_ai.input.messages") is not None:
            asked, answer, finish = from_parts(
                said.get("gen_ai.system_instructions"),
                said["gen_ai.input.messages"],
                said.get("gen_ai.output.messages"),
            )
        elif any(name.startswith("gen_ai.prompt.") for name in said):
            asked, answer, finish = from_numbered(said)
        else:
            asked, answer, finish = from_events(events)
    except (AttributeError, KeyError, TypeError, orjson.JSONEncodeError):
        raise _BadSpanError(
            "gen_ai.input.messages", "is not in the form of the semantic conventions"
        ) from None
    reasons = said.get("gen_ai.response.finish_reasons")
    if not finish and isinstance(reasons, list) and reasons:
        finish = str(reasons[0])
    return asked, answer, finish


def _loaded(name: str, text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _BadSpanError(name, "is not JSON; was it cut off by a limit on attributes?") from None


def _failed(span: Object) -> Object | None:
    status = span.get("status") or {}
    if not isinstance(status, dict) or status.get("code") not in {2, "STATUS_CODE_ERROR"}:
        return None
    return {"message": str(status.get("message") or "the span says so")}


def _scores(events: list[tuple[str, Object]]) -> Object:
    return {
        str(said["gen_ai.evaluation.name"]): said["gen_ai.evaluation.score.value"]
        for name, said in events
        if name == _EVALUATION
        and "gen_ai.evaluation.name" in said
        and isinstance(said.get("gen_ai.evaluation.score.value"), int | float)
    }


def _metadata(about: Object) -> Object:
    names = {
        "deployment.environment.name": "environment",
        "deployment.environment": "environment",
        "service.name": "service",
    }
    return {short: about[name] for name, short in names.items() if name in about}


def _time(nanoseconds: Any) -> str | None:
    try:
        moment = datetime.fromtimestamp(int(nanoseconds) / 1e9, UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return moment.isoformat()


def _objects(value: Any) -> list[Object]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _attributes(pairs: Any) -> Object:
    return {str(pair.get("key")): _any(pair.get("value")) for pair in _objects(pairs)}


def _any(value: Any) -> Any:
    """OTLP's AnyValue as JSON; 64-bit integers come as strings there."""
    if not isinstance(value, dict) or not value:
        return None
    kind, inner = next(iter(value.items()))
    if kind == "arrayValue":
        return [_any(item) for item in _objects((inner or {}).get("values"))]
    if kind == "kvlistValue":
        return _attributes((inner or {}).get("values"))
    if kind == "intValue":
        return int(inner) if str(inner).lstrip("-").isdigit() else None
    return inner
