"""Values of a wire that is loose about them: absent, null and ``""`` all mean *none*."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from understudy.model import Json

__all__ = ["count", "has_more", "identity", "mapping", "numbers", "rows", "text", "time"]


def text(value: Json) -> str | None:
    """A non-empty string, or None."""
    return value if isinstance(value, str) and value else None


def time(value: Json) -> float | None:
    """Seconds since the epoch from a number, a number in a string, or an ISO date."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if value > 0 and math.isfinite(value) else None
    if not isinstance(value, str) or not value:
        return None
    try:
        return time(float(value))
    except ValueError:
        pass
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def count(value: Json) -> int | None:
    """A count; negative ones (seen in ``trained_tokens``) and non-numbers are None."""
    ok = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if ok else None


def mapping(value: Json) -> Mapping[str, Json]:
    """A JSON object, or an empty one."""
    return value if isinstance(value, dict) else {}


def rows(body: Json) -> list[Mapping[str, Json]]:
    """The objects of a list; one server puts them under ``value``, some send the bare list."""
    found = body if isinstance(body, list) else mapping(body).get("data")
    if found is None:
        found = mapping(body).get("value")
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def has_more(body: Json) -> bool | None:
    """Whether the list goes on; None where the server does not say."""
    value = mapping(body).get("has_more")
    return value if isinstance(value, bool) else None


def identity(body: Json) -> str:
    """The id of an object. Raises ValueError: there is none."""
    found = text(mapping(body).get("id"))
    if found is None:
        message = "the object has no id"
        raise ValueError(message)
    return found


def numbers(value: Json) -> dict[str, Json]:
    """The finite numbers of a JSON object: metrics, never text."""
    return {
        name: number
        for name, number in mapping(value).items()
        if isinstance(number, int | float)
        and not isinstance(number, bool)
        and math.isfinite(number)
    }
