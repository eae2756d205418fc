"""Where Azure's data plane lies: classic and v1, at the root and under each resource's name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from understudy_sandbox.routes.azure.face import ARM, CLASSIC, V1, nothing_here
from understudy_sandbox.server import Handler, Operation

if TYPE_CHECKING:
    from understudy_sandbox.provider import Provider


@dataclass(frozen=True, slots=True)
class Place:
    """One operation of the data plane.

    Attributes:
        name: what fault rules call it: the SDK's name, as for OpenAI.
        path: below ``/openai`` or ``/openai/v1``.
        classic, v1: whether that surface has it.
    """

    name: str
    method: str
    path: str
    handler: Handler
    classic: bool = True
    v1: bool = True


def data_plane(places: Sequence[Place]) -> Iterator[Operation]:
    """The operations of all surfaces; v1 first, because classic paths would match its prefix."""
    for root in ("", "/accounts/{account}"):
        for v1 in (True, False):
            for place in places:
                if place.v1 if v1 else place.classic:
                    yield Operation(
                        name=place.name,
                        method=place.method,
                        path=f"{root}/openai{'/v1' if v1 else ''}{place.path}",
                        handler=place.handler,
                        face=V1 if v1 else CLASSIC,
                    )


async def _nothing(_provider: Provider, _request: Request) -> Response:
    raise nothing_here()


def nowhere() -> Iterator[Operation]:
    """Paths of Azure's that lead nowhere; its gateway says so in its own envelope."""
    for root in ("/openai", "/accounts/{account}/openai", "/subscriptions"):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            yield Operation(
                name="nowhere",
                method=method,
                path=f"{root}/{{rest:path}}",
                handler=_nothing,
                admin=True,
                face=ARM if root == "/subscriptions" else V1,
            )
