"""Spans to observations: Langfuse's own attributes first, then those of OpenTelemetry's GenAI."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from understudy_sandbox.langfuse.times import iso
from understudy_sandbox.langfuse.usage import counts

if TYPE_CHECKING:
    from understudy_sandbox.langfuse.otlp import Span
    from understudy_sandbox.state import Doc

_OBSERVATION = "langfuse.observation."
_METADATA = ("langfuse.trace.metadata", "langfuse.observation.metadata")
_EXPERIMENT = "langfuse.experiment."
_PARAMETERS = ("temperature", "top_p", "max_tokens", "seed", "frequency_penalty")


def observation(span: Span, *, now: float) -> Doc:
    """The observation of a span, as the store keeps it.

    Args:
        span: the span.
        now: sandbox time in Unix seconds, for when it was written.
    """
    given = span.attributes
    own = {
        key.removeprefix(_OBSERVATION): value
        for key, value in given.items()
        if key.startswith(_OBSERVATION)
    }
    model = own.get("model.name") or _first(given, "gen_ai.response.model", "gen_ai.request.model")
    kind = own.get("type") or (
        "generation" if model or "gen_ai.input.messages" in given else "span"
    )
    root = span.parent_id is None or given.get("langfuse.internal.is_app_root") is True
    return {
        "id": span.span_id,
        "traceId": span.trace_id,
        "startTime": iso(span.start / 1e6),
        "endTime": iso(span.end / 1e6) if span.end else None,
        "projectId": "",
        "parentObservationId": span.parent_id,
        "type": str(kind).upper(),
        "isRootObservation": root,
        "name": span.name,
        "level": own.get("level") or ("ERROR" if span.error else "DEFAULT"),
        "statusMessage": own.get("status_message") or span.error,
        "completionStartTime": _unquoted(own.get("completion_start_time")),
        "createdAt": iso(now * 1000),
        "updatedAt": iso(now * 1000),
        "input": _input(own, given),
        "output": _text(
            own["output"] if own.get("output") is not None else given.get("gen_ai.output.messages")
        ),
        "metadata": _metadata(span),
        "model": model,
        "experiment": _experiment(given),
        **_generation(own, given),
        **_context(span),
    }


def _generation(own: dict[str, Any], given: dict[str, Any]) -> Doc:
    return {
        "modelParameters": _parsed(own.get("model.parameters")) or _parameters(given),
        "usageDetails": _usage(own, given),
        "costDetails": _parsed(own.get("cost_details")) or {},
        "promptName": own.get("prompt.name"),
        "promptVersion": own.get("prompt.version"),
    }


def _context(span: Span) -> Doc:
    given = span.attributes
    return {
        "version": given.get("langfuse.version"),
        "release": given.get("langfuse.release") or span.resource.get("langfuse.release"),
        "environment": _first(given, "langfuse.environment", "deployment.environment.name")
        or _first(span.resource, "langfuse.environment", "deployment.environment.name")
        or "default",
        "userId": _first(given, "user.id", "langfuse.user.id"),
        "sessionId": _first(given, "session.id", "langfuse.session.id", "gen_ai.conversation.id"),
        "traceName": given.get("langfuse.trace.name"),
        "tags": given.get("langfuse.trace.tags") or [],
        "public": bool(given.get("langfuse.trace.public")),
    }


def _first(given: dict[str, Any], *names: str) -> Any:
    return next((given[name] for name in names if given.get(name) is not None), None)


def _text(value: Any) -> str | None:
    """Input and output are kept as text: what is no string already becomes JSON."""
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def _input(own: dict[str, Any], given: dict[str, Any]) -> str | None:
    if own.get("input") is not None:
        return _text(own["input"])
    messages = _parsed(given.get("gen_ai.input.messages"))
    system = _parsed(given.get("gen_ai.system_instructions"))
    if isinstance(messages, list) and isinstance(system, list):
        messages = [{"role": "system", "parts": system}, *messages]
    return _text(messages)


def _parsed(value: Any) -> Any:
    if isinstance(value, str):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(value)
    return value


def _unquoted(value: Any) -> str | None:
    found = _parsed(value)
    return found if isinstance(found, str) else None


def _metadata(span: Span) -> dict[str, Any]:
    made: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in span.attributes.items():
        prefix = next((p for p in _METADATA if key == p or key.startswith(f"{p}.")), None)
        if prefix is None:
            if not key.startswith("langfuse."):
                rest[key] = value
        elif key == prefix:
            found = _parsed(value)
            made.update(found if isinstance(found, dict) else {"metadata": found})
        else:
            made[key.removeprefix(f"{prefix}.")] = _parsed(value)
    return {
        **made,
        **({"attributes": rest} if rest else {}),
        "resourceAttributes": span.resource,
        "scope": span.scope,
    }


def _parameters(given: dict[str, Any]) -> dict[str, Any]:
    named = {name: given.get(f"gen_ai.request.{name}") for name in _PARAMETERS}
    return {name: value for name, value in named.items() if value is not None}


def _usage(own: dict[str, Any], given: dict[str, Any]) -> dict[str, int]:
    found = _parsed(own.get("usage_details"))
    if isinstance(found, dict):
        return counts(found)
    input_tokens = given.get("gen_ai.usage.input_tokens")
    output_tokens = given.get("gen_ai.usage.output_tokens")
    if input_tokens is None and output_tokens is None:
        return {}
    total = (input_tokens or 0) + (output_tokens or 0)
    return {"input": input_tokens or 0, "output": output_tokens or 0, "total": total}


def _experiment(given: dict[str, Any]) -> dict[str, Any] | None:
    found = {
        key.removeprefix(_EXPERIMENT): value
        for key, value in given.items()
        if key.startswith(_EXPERIMENT)
    }
    return found if found.get("id") else None
