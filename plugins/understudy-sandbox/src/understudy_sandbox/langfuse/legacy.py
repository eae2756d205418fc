"""The batch ingestion of older SDKs, which the npm client still sends its scores by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from understudy_sandbox.errors import ApiError
from understudy_sandbox.langfuse.scoring import score
from understudy_sandbox.langfuse.times import iso

if TYPE_CHECKING:
    from understudy_sandbox.langfuse.store import Records
    from understudy_sandbox.state import Doc

_KINDS = {"span": "SPAN", "generation": "GENERATION", "event": "EVENT"}
_TRACE = ("name", "userId", "sessionId", "tags", "release", "public")
_SAME = (
    "name",
    "startTime",
    "endTime",
    "completionStartTime",
    "model",
    "modelParameters",
    "level",
    "statusMessage",
    "version",
    "environment",
    "promptName",
    "promptVersion",
    "parentObservationId",
    "costDetails",
)


def ingest(records: Records, events: list[Any], *, now: float) -> Doc:
    """Take in a batch; the answer tells of each event whether it was taken.

    Args:
        records: the project's records.
        events: envelopes of id, type, timestamp and body.
        now: sandbox time in Unix seconds.
    """
    successes, errors = [], []
    for event in events:
        name = str(event.get("id", "")) if isinstance(event, dict) else ""
        try:
            _take(records, event, now)
        except ApiError as error:
            errors.append({"id": name, "status": error.status, "message": str(error)})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            told = f"the event does not fit its type: {type(error).__name__}"
            errors.append({"id": name, "status": 400, "message": told})
        else:
            successes.append({"id": name, "status": 201})
    return {"successes": successes, "errors": errors}


def _take(records: Records, event: Doc, now: float) -> None:
    kind, body = event["type"], event["body"]
    family, _, action = kind.rpartition("-")
    if kind == "trace-create":
        named = {key: body.get(key) for key in _TRACE}
        records.put_trace({"id": body["id"], **named})
    elif kind == "score-create":
        records.put_score(score(body, now=now))
    elif action in {"create", "update"} and (family in _KINDS or family == "observation"):
        _observe(records, _KINDS.get(family) or body["type"], body, now)
    elif kind != "sdk-log":
        raise ApiError(400, f"there is no event of type {kind!r}")


def _observe(records: Records, kind: str, body: Doc, now: float) -> None:
    trace = body.get("traceId") or body["id"]
    known = records.observation(trace, body["id"]) or {
        "id": body["id"],
        "traceId": trace,
        "projectId": "",
        "parentObservationId": None,
        "startTime": iso(now * 1000),
        "createdAt": iso(now * 1000),
        "level": "DEFAULT",
        "environment": "default",
        "input": None,
        "output": None,
        "metadata": {},
        "usageDetails": {},
        "costDetails": {},
        "tags": [],
        "public": False,
    }
    named = {key: body[key] for key in _SAME if body.get(key) is not None}
    for side in ("input", "output"):
        value = body.get(side)
        if value is not None:
            named[side] = value if isinstance(value, str) else orjson.dumps(value).decode()
    metadata = body.get("metadata")
    if metadata is not None:
        added = metadata if isinstance(metadata, dict) else {"metadata": metadata}
        named["metadata"] = known["metadata"] | added
    usage = body.get("usageDetails") or _usage(body.get("usage") or {})
    whole = known | named | ({"usageDetails": usage} if usage else {})
    whole |= {"type": kind, "updatedAt": iso(now * 1000)}
    whole["isRootObservation"] = whole["parentObservationId"] is None
    records.put_observations([whole])


def _usage(usage: Doc) -> dict[str, int]:
    names = {"input": "promptTokens", "output": "completionTokens", "total": "totalTokens"}
    found = {ours: usage.get(ours, usage.get(theirs)) for ours, theirs in names.items()}
    return {name: value for name, value in found.items() if value is not None}
