"""Replies that break off: they need the connection itself, which ASGI does not give."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import FileResponse, Response
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_TRANSPORT = "understudy.transport"


class Protocol(H11Protocol):
    """HTTP/1.1 that lets a response reach its connection, so that it can cut it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the transport where responses of this connection find it."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, _TRANSPORT: transport}


class _Cut(Response):
    """A response that ends its connection before its time."""

    def __init__(self, whole: Response | None) -> None:
        super().__init__()
        self._whole = whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a part of the whole, or nothing, and cut."""
        transport: Any = scope["state"][_TRANSPORT]
        if self._whole is not None:
            body = bytes(self._whole.body)
            await send(
                {
                    "type": "http.response.start",
                    "status": self._whole.status_code,
                    "headers": self._whole.raw_headers,
                }
            )
            half = body[: max(1, len(body) // 2)]
            await send({"type": "http.response.body", "body": half, "more_body": True})
        transport.close()
        while (await receive())["type"] != "http.disconnect":
            pass


def dropped() -> Response:
    """Close the connection without a word."""
    return _Cut(None)


def truncated(response: Response) -> Response:
    """Send the headers with the full length, half of the body, and close."""
    if isinstance(response, FileResponse):
        body = Path(response.path).read_bytes()
        response = Response(body, media_type=response.media_type)
    return _Cut(response)
