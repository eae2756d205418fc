"""The faces of the provider: who may ask, how a refusal looks, what every reply carries."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from understudy_sandbox.errors import ApiError
from understudy_sandbox.state import OPENAI_HOME

if TYPE_CHECKING:
    from understudy_sandbox.provider import Provider

Authorise: TypeAlias = Callable[["Provider", Request, bool], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One wire that the sandbox speaks.

    Attributes:
        authorise: takes the provider, the request and whether it is for the sandbox's own routes;
            raises ApiError where it may not be served.
        home: name of the resource whose files, jobs and batches a request sees.
        refuse: the response of an error.
        request_id: header that carries the request's id.
        headers: fixed headers of every reply.
    """

    authorise: Authorise
    home: Callable[[Request], str] = lambda _request: OPENAI_HOME
    refuse: Callable[[ApiError], Response] = ApiError.response
    request_id: str = "x-request-id"
    headers: Mapping[str, str] = field(default_factory=dict)


def bearer(request: Request) -> str | None:
    """The bearer token of a request, or None."""
    sent = request.headers.get("authorization", "")
    return sent[7:].strip() if sent.lower().startswith("bearer ") else None


def is_key(provider: Provider, given: str) -> bool:
    """Whether a text is the sandbox's API key, compared in constant time."""
    return hmac.compare_digest(given.encode(), provider.config.api_key.encode())


def _check_key(provider: Provider, request: Request, admin: bool) -> None:
    given = bearer(request)
    if given is None:
        raise ApiError(
            401,
            "You did not provide an API key. Send it as a header: Authorization: Bearer KEY.",
        )
    if not is_key(provider, given) or (provider.faults.key_expired and not admin):
        raise ApiError(
            401,
            "Incorrect API key provided. Use the key that the sandbox was started with.",
            code="invalid_api_key",
        )


OPENAI = Face(
    authorise=_check_key,
    headers={"openai-organization": "understudy-sandbox", "openai-version": "2020-10-01"},
)
