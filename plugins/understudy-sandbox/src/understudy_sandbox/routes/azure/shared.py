"""What the handlers of Azure's authoring plane share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request


def location(request: Request, name: str) -> dict[str, str]:
    """Headers of a 201: where the new thing is."""
    url = request.url
    place = f"{url.scheme}://{url.netloc}{url.path.removesuffix('/import')}/{name}"
    query = f"?{url.query}" if url.query else ""
    return {"location": place + query, "operation-location": place + query}


def is_v1(request: Request) -> bool:
    """Whether a request came by ``/openai/v1``."""
    return "/openai/v1/" in request.url.path
