"""Our calls and experiments as spans in OTLP's JSON form, with Langfuse's attributes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from understudy.model import ExperimentItem, ExperimentRun, Json, TracedCall, Usage
from understudy_langfuse.ids import span_id, trace_id
from understudy_langfuse.query import EXPERIMENTS
from understudy_langfuse.shapes import encodable

__all__ = ["Place", "Span", "call_span", "experiment_id", "experiment_seed", "experiment_span"]

Span = dict[str, Any]

_INTERNAL, _ERROR = 1, 2  # OTLP's numbers of the kind and of the status


def call_span(call: TracedCall, environment: str | None) -> Span:
    """The span of a call; its ids follow from the call's.

    Args:
        call: what was asked and answered.
        environment: where the call itself names none.
    """
    request, reply = call.request, call.reply
    asked: dict[str, Json] = {"messages": list(request.messages)}
    if request.tools:
        asked["tools"] = list(request.tools)
    if request.response_format is not None:
        asked["response_format"] = request.response_format
    finish = {"finish_reason": reply.finish_reason} if reply and reply.finish_reason else {}
    metadata = {**call.metadata, **finish, "understudy_call": call.id}
    attributes: dict[str, Any] = {
        "langfuse.observation.type": "generation",
        "langfuse.observation.input": _text(asked if len(asked) > 1 else asked["messages"]),
        "langfuse.observation.model.name": reply.model if reply else request.model,
        "langfuse.observation.model.parameters": _text(dict(request.sampling)),
        "langfuse.trace.name": call.name,
        "langfuse.trace.tags": list(call.tags) or None,
        "langfuse.environment": call.environment or environment,
        "session.id": call.session,
        "user.id": call.user,
    }
    if reply is not None:
        attributes["langfuse.observation.output"] = _text(reply.message)
        attributes["langfuse.observation.usage_details"] = _text(_usage(reply.usage))
    for key, value in metadata.items():
        attributes[f"langfuse.observation.metadata.{key}"] = _text(value)
    return _span(call.id, call.name, (call.began, call.ended), attributes, call.error)


def _usage(usage: Usage) -> dict[str, int]:
    """Langfuse prices each kind by itself: what was cached must not be counted as input too."""
    made = {"input": usage.input - usage.cached, "output": usage.output}
    if usage.cached:
        made["input_cached_tokens"] = usage.cached
    return made | {"total": usage.input + usage.output}


def _text(value: Json) -> str:
    """A value as JSON; a text in quotes."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # half characters, large numbers: a call must not be lost
        return json.dumps(value, default=str)


def _span(
    seed: str,
    name: str,
    times: tuple[float, float],
    attributes: Mapping[str, Any],
    error: str | None,
) -> Span:
    given = dict(attributes)
    if error is not None:
        given |= {
            "langfuse.observation.level": "ERROR",
            "langfuse.observation.status_message": error,
        }
    began, ended = times
    return {
        "traceId": trace_id(seed),
        "spanId": span_id(seed),
        "name": encodable(name),
        "kind": _INTERNAL,
        "startTimeUnixNano": str(round(began * 1e9)),
        "endTimeUnixNano": str(round(max(began, ended) * 1e9)),
        "attributes": [
            {"key": key, "value": _value(value)}
            for key, value in given.items()
            if value is not None
        ],
        "status": {} if error is None else {"code": _ERROR, "message": encodable(error)},
    }


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(one) for one in value]}}
    return {"stringValue": encodable(str(value))}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an experiment belongs: its id, and the dataset's where it has one."""

    experiment: str
    dataset: str | None


def experiment_id(project: str, dataset: str | None, run: str) -> str:
    """The id that Langfuse's SDKs give the runs of this name on a dataset.

    Args:
        project: the project's id.
        dataset: the dataset's id; without one, runs of the same name are one in the project.
        run: the run's name.
    """
    told = ["langfuse-experiment-v1", project, dataset or "", run]
    return trace_id(orjson.dumps(told).decode())[:16]


def experiment_seed(place: Place, item: str) -> str:
    """What the ids of an item's trace and span follow from."""
    return f"{place.experiment}/{item}"


def experiment_span(run: ExperimentRun, item: ExperimentItem, place: Place) -> Span:
    """The span of one item of an experiment."""
    seed = experiment_seed(place, item.item)
    described = _text(dict(run.metadata)) if run.metadata else None
    attributes: dict[str, Any] = {
        "langfuse.observation.type": "generation" if item.model else "span",
        "langfuse.observation.input": _text(item.input),
        "langfuse.observation.output": None if item.output is None else _text(item.output),
        "langfuse.observation.model.name": item.model,
        "langfuse.environment": EXPERIMENTS,
        "langfuse.experiment.id": place.experiment,
        "langfuse.experiment.name": run.name,
        "langfuse.experiment.description": run.description,
        "langfuse.experiment.metadata": described,
        "langfuse.experiment.dataset.id": place.dataset,
        "langfuse.experiment.item.id": item.item,
        "langfuse.experiment.item.expected_output": (
            None if item.expected is None else _text(item.expected)
        ),
        "langfuse.experiment.item.root_observation_id": span_id(seed),
    }
    return _span(seed, "experiment-item", (item.began, item.ended), attributes, item.error)
