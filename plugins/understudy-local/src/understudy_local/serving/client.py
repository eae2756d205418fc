"""One question over HTTP to a local server."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from understudy.errors import Unavailable
from understudy.model import ChatReply, ChatRequest
from understudy_local.artifacts import Home
from understudy_local.serving import pool, wire
from understudy_local.serving.models import Served
from understudy_local.serving.pool import Address
from understudy_local.settings import LocalSettings

__all__ = ["ask", "complete"]

_TRIES = 3
"""A server may end for idleness between the look at its address and the request."""


def complete(
    home: Home, served: Served, settings: LocalSettings, request: ChatRequest, *, timeout: float
) -> ChatReply:
    """One answer. A request is sent again only where nobody can have received it.

    Raises:
        BackendError: as ``wire.error_of`` says, or nobody answers.
    """
    deadline = time.monotonic() + timeout
    for _ in range(_TRIES):
        left = deadline - time.monotonic()
        at = pool.address(home, served, settings, timeout=left)
        try:
            return ask(at, request, timeout=max(deadline - time.monotonic(), 0.1))
        except ConnectionRefusedError:
            continue
    raise Unavailable(f"the server of {served.name} ends as soon as it is asked; ask again")


def ask(at: Address, request: ChatRequest, *, timeout: float) -> ChatReply:
    """One request to a server that runs.

    Raises:
        ConnectionRefusedError: nobody listens there any more; nothing was sent.
        BackendError: anything else.
    """
    place = urlsplit(at.url)
    connection = http.client.HTTPConnection(
        place.hostname or "127.0.0.1", place.port, timeout=timeout
    )
    try:
        connection.connect()
        connection.request(
            "POST",
            "/v1/chat/completions",
            body=orjson.dumps(wire.body_of(request)),
            headers={"Authorization": f"Bearer {at.key}", "Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        status, body = answer.status, _parsed(answer.read())
    except ConnectionRefusedError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(
            f"the server of {request.model} gave no answer ({type(error).__name__}); ask again"
        ) from None
    finally:
        connection.close()
    if status != 200:
        raise wire.error_of(status, body, model=request.model)
    return wire.reply_of(body, model=request.model)


def _parsed(text: bytes) -> Mapping[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
