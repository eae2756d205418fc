"""Langfuse's face: a pair of keys by basic authentication, and its plain errors."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from understudy_sandbox.errors import ApiError, json_response
from understudy_sandbox.faces import Face, is_key

if TYPE_CHECKING:
    from understudy_sandbox.provider import Provider

PUBLIC_KEY = "pk-lf-understudy-sandbox"
"""The public key; the secret one is the sandbox's API key."""

_NAMES = {
    400: "InvalidRequestError",
    401: "UnauthorizedError",
    403: "ForbiddenError",
    404: "LangfuseNotFoundError",
    405: "MethodNotAllowedError",
    429: "RateLimitExceededError",
}


def _refuse(error: ApiError) -> Response:
    if error.body["error"]["code"] == "old_server":
        # An older server has no such route: its web framework answers with a page.
        page = f"<!DOCTYPE html><html><body><h1>404</h1><h2>{error}</h2></body></html>"
        return Response(page, status_code=404, media_type="text/html")
    name = _NAMES.get(error.status, "InternalServerError")
    body = {"message": str(error), "error": name}
    return json_response(body, status=error.status, headers=error.headers)


def _pair(request: Request) -> tuple[str, str] | None:
    sent = request.headers.get("authorization", "")
    if not sent.lower().startswith("basic "):
        return None
    try:
        text = base64.b64decode(sent[6:].strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    public, colon, secret = text.partition(":")
    return (public, secret) if colon else None


def _check_pair(provider: Provider, request: Request, _admin: bool) -> None:
    given = _pair(request)
    if given is None:
        raise ApiError(401, "No authorization header, or no basic one: send public:secret key.")
    public, secret = given
    right = public == PUBLIC_KEY and is_key(provider, secret)
    if not right or provider.faults.key_expired:
        raise ApiError(
            401, "Invalid credentials. Confirm that the host and the pair of keys belong together."
        )


def _anyone(_provider: Provider, _request: Request, _admin: bool) -> None:
    """Health is told to everyone."""


LANGFUSE = Face(authorise=_check_pair, refuse=_refuse)
HEALTH = Face(authorise=_anyone, refuse=_refuse)
