"""Times on Langfuse's wire: ISO 8601 in UTC, with milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime

from understudy_sandbox.errors import ApiError


def iso(milliseconds: float) -> str:
    """The text of a time in Unix milliseconds."""
    when = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def millis(text: str) -> int:
    """Unix milliseconds of such a text; UTC where it names no zone.

    Raises:
        ValueError: it is no ISO 8601 time.
    """
    when = datetime.fromisoformat(text)
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


def asked(text: str | None, name: str, default: int) -> int:
    """Unix milliseconds of a query parameter.

    Raises:
        ApiError: it is no ISO 8601 time.
    """
    if text is None:
        return default
    try:
        return millis(text)
    except ValueError:
        raise ApiError(400, f"{name} is no ISO 8601 time: {text!r}.") from None
