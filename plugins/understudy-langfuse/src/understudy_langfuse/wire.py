"""Rows of Langfuse's lists as they come over the wire, read leniently.

The SDK refuses a whole page for one row that has a value it does not foresee (token counts that
are null, as its own OpenAI wrapper writes them). A pull must not end there, so rows are read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from understudy.errors import InvalidData
from understudy.model import Json
from understudy_langfuse.calls import Observation
from understudy_langfuse.scores import Said
from understudy_langfuse.shapes import decoded, encodable, first, is_object

__all__ = ["observation_of", "page_of", "said_of"]


def page_of(reply: Any, what: str) -> tuple[list[Any], str | None]:
    """The rows of a list's reply, and the cursor of the next ones.

    Raises:
        InvalidData: it is no list's reply.
    """
    rows = reply.get("data") if is_object(reply) else None
    meta = reply.get("meta") if is_object(reply) else None
    if not isinstance(rows, list) or not is_object(meta):
        raise InvalidData(
            f"the {what} came in a form that this plugin does not know; upgrade it: "
            "pip install --upgrade understudy-langfuse"
        )
    cursor = meta.get("cursor")
    return rows, cursor if isinstance(cursor, str) and cursor else None


def observation_of(row: Any) -> Observation | None:
    """An observation of the v2 list; None where it has no id."""
    if not is_object(row) or not isinstance(row.get("id"), str):
        return None
    return Observation(
        id=row["id"],
        trace=_text(row.get("traceId")) or row["id"],
        start=_text(row.get("startTime")),
        name=_text(row.get("name")),
        level=_text(row.get("level")),
        status=_text(row.get("statusMessage")),
        # The published contract names it otherwise than the SDK does.
        model=_text(first(row, "model", "providedModelName")),
        session=_text(row.get("sessionId")),
        environment=_text(row.get("environment")),
        trace_name=_text(row.get("traceName")),
        tags=_texts(row.get("tags")),
        input=_plain(row.get("input")),
        output=_plain(row.get("output")),
        parameters=_object(row.get("modelParameters")),
        usage=_counts(row.get("usageDetails")),
        metadata=_object(row.get("metadata")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _plain(value: Any) -> Json:
    return encodable(value) if isinstance(value, str) else value


def _object(value: Any) -> Mapping[str, Json]:
    found = decoded(value)
    return found if is_object(found) else {}


def _counts(value: Any) -> Mapping[str, int]:
    return {name: count for name, count in _object(value).items() if type(count) is int}


def said_of(row: Any) -> Said | None:
    """A score of the v3 list; None where it is of no call, or no score."""
    subject = row.get("subject") if is_object(row) else None
    if not is_object(subject) or subject.get("kind") not in {"trace", "observation"}:
        return None
    of_trace = subject["kind"] == "trace"
    trace = _text(subject.get("id" if of_trace else "traceId"))
    name, value = _text(row.get("name")), row.get("value")
    if trace is None or name is None or not isinstance(value, bool | int | float | str):
        return None
    return Said(
        trace=trace,
        observation=None if of_trace else _text(subject.get("id")),
        name=name,
        kind=_text(row.get("dataType")) or "",
        value=value,
        at=_seconds(row.get("timestamp")),
    )


def _seconds(value: Any) -> float:
    try:
        return datetime.fromisoformat(value).timestamp()
    except (TypeError, ValueError):
        return 0.0
