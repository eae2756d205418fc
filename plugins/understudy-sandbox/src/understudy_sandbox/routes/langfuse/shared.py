"""What the lists of Langfuse have in common: limits, cursors, pages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from understudy_sandbox.errors import ApiError

if TYPE_CHECKING:
    from starlette.requests import Request

    from understudy_sandbox.faults import Rule
    from understudy_sandbox.langfuse.store import Place
    from understudy_sandbox.state import Doc

FOREVER = 1 << 62


def rules_of(request: Request) -> list[Rule]:
    """The fault rules that fired on a request."""
    found: list[Rule] = getattr(request.state, "rules", [])
    return found


def whole_number(request: Request, name: str, *, usual: int, most: int) -> int:
    """A query parameter from 1 to ``most``.

    Raises:
        ApiError: it is none.
    """
    text = request.query_params.get(name, str(usual))
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise ApiError(400, f"{name}: {text!r} is no whole number from 1 to {most}.")
    return int(text)


def cursor_of(place: Place) -> str:
    """The cursor of the last entry of a page."""
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode()


def place_of(request: Request) -> Place | None:
    """Where a request's cursor goes on; None at the beginning.

    Raises:
        ApiError: it is no cursor of this server.
    """
    text = request.query_params.get("cursor")
    if not text:
        return None
    try:
        at, trace, name = orjson.loads(base64.urlsafe_b64decode(text))
        return int(at), str(trace), str(name)
    except (binascii.Error, orjson.JSONDecodeError, TypeError, ValueError):
        raise ApiError(400, "cursor: it is none of this server; begin without.") from None


def names(request: Request, parameter: str) -> frozenset[str] | None:
    """A comma-separated query parameter; None where it is absent."""
    text = request.query_params.get(parameter)
    return None if text is None else frozenset(part.strip() for part in text.split(","))


def numbered_page(request: Request, docs: Sequence[Doc]) -> dict[str, Any]:
    """A numbered page of a list, with how many there are.

    Raises:
        ApiError: page or limit is no number.
    """
    page = whole_number(request, "page", usual=1, most=1_000_000)
    limit = whole_number(request, "limit", usual=50, most=100)
    start = (page - 1) * limit
    return {
        "data": list(docs[start : start + limit]),
        "meta": {
            "page": page,
            "limit": limit,
            "totalItems": len(docs),
            "totalPages": -(-len(docs) // limit),
        },
    }


async def json_of(request: Request) -> Any:
    """The JSON body of a request.

    Raises:
        ApiError: it is none.
    """
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        raise ApiError(400, "The body is no JSON.") from None
