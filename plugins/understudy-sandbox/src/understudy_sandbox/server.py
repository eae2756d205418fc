"""The server: operations by name, the key check, the fault script, the error envelope."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from understudy_sandbox.effects import after, before
from understudy_sandbox.errors import INVALID, ApiError
from understudy_sandbox.faces import OPENAI, Face
from understudy_sandbox.provider import Provider
from understudy_sandbox.state import new_id

if TYPE_CHECKING:
    from understudy_sandbox.config import Config

Handler: TypeAlias = Callable[[Provider, Request], Awaitable[Response]]
_TICK = 0.05  # real seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of the wire: the SDK's name for it, where it lies, and what does it.

    Attributes:
        name: what fault rules and request counters call it.
        admin: it belongs to the sandbox itself: no faults, not counted.
        face: the wire that it is part of.
    """

    name: str
    method: str
    path: str
    handler: Handler
    admin: bool = False
    face: Face = OPENAI


async def _perform(provider: Provider, operation: Operation, request: Request) -> Response:
    request.state.home = operation.face.home(request)
    if operation.admin:
        operation.face.authorise(provider, request, True)
        return await operation.handler(provider, request)
    provider.requests[operation.name] += 1
    operation.face.authorise(provider, request, False)
    request.state.rules = rules = provider.faults.take(operation.name)
    request.state.rules = rules
    for rule in rules:
        ended = await before(provider, request, operation.name, rule)
        if ended is not None:
            return ended
    response = await operation.handler(provider, request)
    for rule in rules:
        response = await after(provider, request, operation.name, rule, response)
    return response


def _endpoint(provider: Provider, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        began = time.perf_counter()
        try:
            response = await _perform(provider, operation, request)
        except ApiError as error:
            response = operation.face.refuse(error)
        finally:
            # The files of a form are on disk until then.
            await request.close()
        spent = int((time.perf_counter() - began) * 1000)
        response.headers[operation.face.request_id] = new_id("req_", 32)
        response.headers["openai-processing-ms"] = str(spent)
        response.headers.update(operation.face.headers)
        return response

    return endpoint


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        message = f"Not allowed to {request.method} on {request.url.path}."
        return ApiError(405, message, code="method_not_supported").response()
    if status == 404:
        message = f"Invalid URL ({request.method} {request.url.path})"
        return ApiError(404, message, kind=INVALID).response()
    kind = "server_error" if status >= 500 else INVALID
    return ApiError(status, "The sandbox could not read this request.", kind=kind).response()


async def _crashed(_request: Request, _error: Exception) -> Response:
    return ApiError(
        500, "The sandbox failed at this request; its log says why.", kind="server_error"
    ).response()


def build_app(config: Config) -> Starlette:
    """The ASGI application of a sandbox; its provider is at ``app.state.provider``."""
    from understudy_sandbox.routes import OPERATIONS

    provider = Provider(config)

    async def tick() -> None:
        while True:
            await asyncio.to_thread(provider.tick)
            await asyncio.sleep(_TICK)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        ticking = asyncio.create_task(tick())
        try:
            yield
        finally:
            ticking.cancel()
            with suppress(asyncio.CancelledError):
                await ticking
            await asyncio.to_thread(provider.close)

    app = Starlette(
        routes=[Route(op.path, _endpoint(provider, op), methods=[op.method]) for op in OPERATIONS],
        exception_handlers={HTTPException: _http_error, Exception: _crashed},
        lifespan=lifespan,
    )
    app.state.provider = provider
    app.state.main_account = config.azure.main
    return app
