"""Experiments, as they follow from the spans of their items."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from understudy_sandbox.state import Doc

ITEM_GROUPS: dict[str, list[str]] = {
    "core": [
        "id",
        "traceId",
        "startTime",
        "endTime",
        "level",
        "environment",
        "experimentId",
        "experimentName",
        "experimentItemId",
    ],
    "dataset": ["experimentDatasetId", "experimentItemVersion"],
    "io": ["input", "output", "expectedOutput"],
    "metadata": ["metadata"],
    "itemMetadata": ["experimentItemMetadata"],
    "experimentMetadata": ["experimentMetadata", "experimentDescription"],
    "scores": ["scores"],
}


def item(doc: Doc) -> Doc:
    """An item of an experiment: its root observation with what its span said of it."""
    given = doc["experiment"]
    return {
        **{name: doc[name] for name in ("id", "traceId", "startTime", "endTime", "level")},
        "environment": doc["environment"],
        "experimentId": given["id"],
        "experimentName": given.get("name", ""),
        "experimentItemId": given.get("item.id", ""),
        "experimentDatasetId": given.get("dataset.id"),
        "experimentItemVersion": given.get("item.version"),
        "input": doc["input"],
        "output": doc["output"],
        "expectedOutput": given.get("item.expected_output"),
        "metadata": doc["metadata"],
        "experimentItemMetadata": _object(given.get("item.metadata")),
        "experimentMetadata": _object(given.get("metadata")),
        "experimentDescription": given.get("description"),
    }


def is_item(doc: Doc) -> bool:
    """Whether an observation is the root of an experiment's item."""
    return bool(doc["experiment"].get("item.root_observation_id") == doc["id"])


def experiments(items: Iterable[Doc]) -> list[Doc]:
    """The experiments that items belong to, the last active first."""
    found: dict[str, Doc] = {}
    for one in items:
        known = found.setdefault(
            one["experimentId"],
            {
                "id": one["experimentId"],
                "name": one["experimentName"],
                "description": one["experimentDescription"],
                "startTime": one["startTime"],
                "endTime": one["endTime"] or one["startTime"],
                "itemCount": 0,
                "datasetId": one["experimentDatasetId"],
                "metadata": one["experimentMetadata"],
            },
        )
        known["itemCount"] += 1
        known["startTime"] = min(known["startTime"], one["startTime"])
        known["endTime"] = max(known["endTime"], one["endTime"] or one["startTime"])
    return sorted(found.values(), key=lambda one: (one["endTime"], one["id"]), reverse=True)


def _object(value: Any) -> dict[str, Any] | None:
    try:
        found = orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
