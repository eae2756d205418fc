"""The sandbox's own routes: faults, held requests, clock, bill, state. Not part of the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import orjson
from pydantic import Field, ValidationError

from understudy_sandbox.errors import json_response
from understudy_sandbox.schemas import Body, body_of, refused
from understudy_sandbox.server import Operation

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from understudy_sandbox.provider import Provider


class Advance(Body):
    """POST /sandbox/clock."""

    advance: Annotated[float, Field(ge=0, strict=False)]


class Release(Body):
    """POST /sandbox/release: one held request, or all."""

    id: str | None = None


class Key(Body):
    """POST /sandbox/key: take the API key, or refuse it."""

    expired: bool


async def health(provider: Provider, _request: Request) -> Response:
    """GET /sandbox/health."""
    return json_response({"provider": "understudy-sandbox", "now": provider.clock.now()})


async def faults(provider: Provider, _request: Request) -> Response:
    """GET /sandbox/faults."""
    return json_response(
        {"rules": provider.faults.shown(), "key_expired": provider.faults.key_expired}
    )


async def replace_faults(provider: Provider, request: Request) -> Response:
    """POST /sandbox/faults."""
    try:
        provider.faults.replace(orjson.loads(await request.body() or b"[]"))
    except ValidationError as error:
        raise refused(error) from None
    return await faults(provider, request)


async def held(provider: Provider, _request: Request) -> Response:
    """GET /sandbox/held."""
    return json_response({"held": provider.holds.shown()})


async def release(provider: Provider, request: Request) -> Response:
    """POST /sandbox/release."""
    body = await body_of(request, Release)
    return json_response({"released": provider.holds.release(body.id)})


async def clock(provider: Provider, _request: Request) -> Response:
    """GET /sandbox/clock."""
    return json_response(provider.clock.shown())


async def advance(provider: Provider, request: Request) -> Response:
    """POST /sandbox/clock."""
    body = await body_of(request, Advance)
    provider.clock.advance(body.advance)
    provider.keep_clock()
    provider.trainer.settle()
    return json_response(provider.clock.shown())


async def key(provider: Provider, request: Request) -> Response:
    """POST /sandbox/key."""
    body = await body_of(request, Key)
    provider.faults.expire_key(expired=body.expired)
    return json_response({"expired": body.expired})


async def bill(provider: Provider, _request: Request) -> Response:
    """GET /sandbox/bill."""
    provider.trainer.settle()
    return json_response(provider.bill.shown(provider.deployments.hosted()))


async def state(provider: Provider, _request: Request) -> Response:
    """GET /sandbox/state."""
    return json_response(provider.summary())


def _admin(method: str, path: str, handler: object) -> Operation:
    return Operation(
        name=f"sandbox{path.replace('/', '.')}",
        method=method,
        path=f"/sandbox{path}",
        handler=handler,  # type: ignore[arg-type]
        admin=True,
    )


OPERATIONS = (
    _admin("GET", "/health", health),
    _admin("GET", "/faults", faults),
    _admin("POST", "/faults", replace_faults),
    _admin("GET", "/held", held),
    _admin("POST", "/release", release),
    _admin("GET", "/clock", clock),
    _admin("POST", "/clock", advance),
    _admin("POST", "/key", key),
    _admin("GET", "/bill", bill),
    _admin("GET", "/state", state),
)
