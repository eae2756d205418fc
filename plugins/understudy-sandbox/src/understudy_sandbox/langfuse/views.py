"""Observations as the list shows them: field groups, and metadata cut where not asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from understudy_sandbox.errors import ApiError
from understudy_sandbox.langfuse.times import millis

if TYPE_CHECKING:
    from understudy_sandbox.state import Doc

PROJECT = "understudy-sandbox"
_CUT = 200  # characters of a metadata value
_CORE = ["id", "traceId", "startTime", "endTime", "projectId", "parentObservationId", "type"]
GROUPS: dict[str, list[str]] = {
    "core": [],
    "basic": [
        "name",
        "level",
        "statusMessage",
        "version",
        "environment",
        "bookmarked",
        "public",
        "userId",
        "sessionId",
        "isRootObservation",
    ],
    "time": ["completionStartTime", "createdAt", "updatedAt"],
    "io": ["input", "output"],
    "metadata": ["metadata"],
    # The published contract says providedModelName, the SDK reads model: both are sent.
    "model": [
        "model",
        "providedModelName",
        "internalModelId",
        "modelParameters",
        "modelId",
        "inputPrice",
        "outputPrice",
        "totalPrice",
    ],
    "usage": ["usageDetails", "costDetails", "totalCost", "usagePricingTierName"],
    "prompt": ["promptId", "promptName", "promptVersion"],
    "metrics": ["latency", "timeToFirstToken"],
    "trace_context": ["tags", "release", "traceName"],
}


def whole(doc: Doc, trace: Doc) -> Doc:
    """An observation with what its trace says and what follows from its fields.

    Args:
        doc: as stored.
        trace: what older SDKs said of its trace; fills in what the observation leaves open.
    """
    made = {name: doc.get(name) for names in (_CORE, *GROUPS.values()) for name in names}
    for field in ("userId", "sessionId", "release"):
        made[field] = doc.get(field) or trace.get(field)
    began = millis(doc["startTime"])
    first = doc.get("completionStartTime")
    ended = doc.get("endTime")
    return made | {
        "projectId": PROJECT,
        "traceName": doc.get("traceName") or trace.get("name"),
        "tags": sorted({*(doc.get("tags") or ()), *(trace.get("tags") or ())}),
        "public": bool(doc.get("public") or trace.get("public")),
        "bookmarked": False,
        "providedModelName": doc.get("model"),
        "totalCost": sum((doc.get("costDetails") or {}).values()),
        "latency": (millis(ended) - began) / 1000 if ended else None,
        "timeToFirstToken": (millis(first) - began) / 1000 if first else None,
    }


def groups_of(text: str | None) -> frozenset[str]:
    """The field groups that a request names.

    Raises:
        ApiError: one of them is none.
    """
    if not text:
        return frozenset({"core", "basic"})
    named = frozenset(part.strip() for part in text.split(","))
    unknown = sorted(named - GROUPS.keys())
    if unknown:
        raise ApiError(
            400, f"fields: there is no group {unknown[0]!r}; groups: {', '.join(GROUPS)}"
        )
    return named


def shown(doc: Doc, groups: frozenset[str], expand: frozenset[str], *, parsed: bool = False) -> Doc:
    """A whole observation with the fields of some groups.

    Args:
        doc: from ``whole``.
        groups: names of field groups.
        expand: metadata keys whose values are not cut.
        parsed: give input and output as JSON values where they are that, as some servers did.
    """
    names = [*_CORE, *(name for group in sorted(groups) for name in GROUPS[group])]
    made = {name: doc[name] for name in names}
    if "metadata" in groups:
        given = made["metadata"] or {}
        made["metadata"] = {key: _cut(key, value, expand) for key, value in given.items()}
    if parsed:
        made |= {side: _parse(made[side]) for side in ("input", "output") if side in made}
    return made


def _cut(key: str, value: Any, expand: frozenset[str]) -> Any:
    if key in expand:
        return value
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return value if len(text) <= _CUT else text[:_CUT]


def _parse(value: Any) -> Any:
    try:
        return orjson.loads(value)
    except (orjson.JSONDecodeError, TypeError):
        return value
