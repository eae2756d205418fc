"""Langfuse's refusals and failures as Understudy's errors: what happened and what to do next."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from typing import Any

from understudy.errors import (
    AuthError,
    BackendError,
    InvalidData,
    NotEligible,
    NotFound,
    RateLimited,
    Unavailable,
)

__all__ = ["refusal", "retry_after", "unreadable"]

_LONGEST = 300  # characters of the server's own words


def refusal(
    status: int, body: Any, headers: Mapping[str, str], *, server: str, what: str, now: float
) -> BackendError:
    """The error of a reply that is none of success.

    Args:
        status: of the reply.
        body: the parsed body, or its text.
        headers: of the reply.
        server: the configured address.
        what: what was asked for, such as "its observations".
        now: seconds since the epoch, for a date in ``retry-after``.
    """
    said = _words(body)
    told = f": {said}" if said else ""
    if status == 401:
        return AuthError(
            f"Langfuse at {server} refused the pair of keys{told}. The keys of a project work on "
            "its own server or cloud region only: check LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY "
            "and base_url.",
            status=status,
        )
    if status == 403:
        return NotEligible(
            f"Langfuse at {server} does not let this pair of keys have {what}{told}. Use keys of "
            "a project that may.",
            status=status,
        )
    if status in {404, 405, 501}:
        return _absent(status, body, server=server, what=what)
    if status == 429:
        pause = retry_after(headers, now)
        when = f" for {pause:g} s" if pause else ""
        return RateLimited(
            f"Langfuse at {server} limits the rate of requests{when}{told}. Ask again later; what "
            "was taken is kept.",
            retry_after=pause,
            status=status,
        )
    if 300 <= status < 400:
        place = headers.get("location", "another address")
        return NotFound(
            f"{server} sends on to {place.partition('?')[0]}: write the address that Langfuse "
            "itself answers at into base_url.",
            status=status,
        )
    return _unforeseen(status, told, server=server, what=what)


def _unforeseen(status: int, told: str, *, server: str, what: str) -> BackendError:
    if status == 408 or status >= 500:
        return Unavailable(
            f"Langfuse at {server} failed to give {what} (HTTP {status}){told}. Try again later; "
            "what was taken is kept.",
            status=status,
        )
    return InvalidData(
        f"Langfuse at {server} did not understand the request for {what} (HTTP {status}){told}.",
        status=status,
    )


def _absent(status: int, body: Any, *, server: str, what: str) -> BackendError:
    if _is_page(body):
        return NotFound(
            f"{server} has no {what}: it is no Langfuse, or one older than this plugin speaks "
            "with. Check base_url.",
            code="no_route",
            status=status,
        )
    said = _words(body)
    return NotFound(
        f"Langfuse at {server} has no {what}{f': {said}' if said else ''}.", status=status
    )


def unreadable(body: str, *, server: str, what: str) -> BackendError:
    """The error of a successful reply that is no JSON."""
    if _is_page(body):
        return NotFound(
            f"{server} answers with a web page where {what} should be: it is no Langfuse. Check "
            "base_url.",
            code="no_route",
        )
    return Unavailable(
        f"Langfuse at {server} broke off in the middle of {what}. Try again; what was taken is "
        "kept."
    )


def _is_page(body: Any) -> bool:
    return isinstance(body, str) and body.lstrip()[:15].lower().startswith(("<!doctype", "<html"))


def _words(body: Any) -> str:
    """What the server said, in one line; pages and values of rows are left out."""
    if isinstance(body, dict):
        found = body.get("message") or body.get("error")
        body = found if isinstance(found, str) else ""
    if not isinstance(body, str) or _is_page(body):
        return ""
    return " ".join(body.split())[:_LONGEST].rstrip(".")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the server asks to wait: a number, or a date."""
    given = next((v for k, v in headers.items() if k.lower() == "retry-after"), None)
    if given is None:
        return None
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(given).timestamp() - now)
    except (TypeError, ValueError):
        return None
