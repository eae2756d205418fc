"""Lists: cursors, limits, orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from understudy_sandbox.errors import ApiError

if TYPE_CHECKING:
    from starlette.requests import Request


def limit_of(request: Request, *, usual: int, most: int = 100) -> int:
    """The ``limit`` of a list request.

    Raises:
        ApiError: it is no whole number from 1 to ``most``.
    """
    text = request.query_params.get("limit", str(usual))
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise ApiError(
            400,
            f"Invalid value for 'limit': {text!r}. Give a whole number from 1 to {most}.",
            param="limit",
            code="invalid_value",
        )
    return int(text)


def page(
    request: Request, items: Sequence[dict[str, Any]], *, usual: int = 20, most: int = 100
) -> tuple[list[dict[str, Any]], bool]:
    """The items after the ``after`` cursor, at most ``limit`` of them, and whether more follow.

    Raises:
        ApiError: the cursor or the limit is not valid.
    """
    limit = limit_of(request, usual=usual, most=most)
    after = request.query_params.get("after")
    start = 0
    if after:
        found = [i for i, item in enumerate(items) if item["id"] == after]
        if not found:
            raise ApiError(
                400,
                f"No item of this list has the id {after!r}. Begin without 'after'.",
                param="after",
                code="invalid_value",
            )
        start = found[0] + 1
    return list(items[start : start + limit]), start + limit < len(items)


def ends(shown: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """``first_id`` and ``last_id`` of a page, for the lists that have them."""
    return {
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


def oldest_first(request: Request) -> bool:
    """Whether ``order`` asks for the oldest first.

    Raises:
        ApiError: it is neither ``asc`` nor ``desc``.
    """
    order = request.query_params.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise ApiError(
            400, "Invalid value for 'order': give asc or desc.", param="order", code="invalid_value"
        )
    return order == "asc"
