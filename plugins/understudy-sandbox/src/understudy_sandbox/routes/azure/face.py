"""Azure's faces: who may ask on each of its planes, and how its refusals look."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from understudy_sandbox.config import LOOPBACK
from understudy_sandbox.errors import ApiError, json_response
from understudy_sandbox.faces import Face, bearer, is_key
from understudy_sandbox.routes.azure.tokens import ARM_AUDIENCES, DATA_AUDIENCES, Refused, verify

if TYPE_CHECKING:
    from understudy_sandbox.provider import Provider

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
# Codes of the authoring service; what has a code of its own keeps it.
_CODES = {
    400: "invalidPayload",
    404: "notFound",
    409: "conflict",
    411: "lengthRequired",
    429: "429",
}
_OPENAI_ONLY = frozenset({"invalid_api_key", "invalid_value", "unknown_parameter"})


def azure_error(error: ApiError) -> Response:
    """``{"error": {"code", "message"}}``; a server's failure has its status as the code."""
    given = error.body["error"]
    code = given["code"]
    if code is None or code in _OPENAI_ONLY:
        code = _CODES.get(error.status, str(error.status))
    body: dict[str, Any] = {"code": code, "message": given["message"]}
    return json_response(
        {"error": {**body, **error.more}}, status=error.status, headers=error.headers
    )


def nothing_here() -> ApiError:
    """What Azure answers where the path or the api-version is missing or wrong."""
    return ApiError(404, "Resource not found", code="404")


def api_version(request: Request) -> str | None:
    """The date of a classic request's api-version; None on v1, which counts as the newest."""
    given = request.query_params.get("api-version")
    return None if given is None or not _VERSION.fullmatch(given) else given[:10]


def _no_access(message: str | None = None) -> ApiError:
    return ApiError(
        401,
        message
        or "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
        "provide a valid key for an active subscription and use a correct regional API endpoint "
        "for your resource.",
        code="401",
    )


_TOKEN_TROUBLE = {
    "invalid": "The access token is no token of this directory. Ask for a new one.",
    "expired": "The access token has expired. Ask for a new one.",
    "audience": "Audience is incorrect: ask for the scope "
    "https://cognitiveservices.azure.com/.default.",
}


def _check_data(provider: Provider, request: Request, _admin: bool, *, classic: bool) -> None:
    if classic and api_version(request) is None:
        raise nothing_here()
    if provider.config.azure.account(request.state.home.removeprefix("azure/")) is None:
        raise nothing_here()
    key = request.headers.get("api-key")
    token = bearer(request)
    given = key or token
    if given is not None and is_key(provider, given):
        if provider.faults.key_expired:
            raise _no_access()
        return
    if token is None or "." not in token:
        raise _no_access()
    try:
        verify(provider, token, DATA_AUDIENCES)
    except Refused as refused:
        raise _no_access(_TOKEN_TROUBLE[refused.why]) from None


_ARM_TROUBLE = {
    "invalid": ("InvalidAuthenticationToken", "The access token is invalid."),
    "expired": (
        "ExpiredAuthenticationToken",
        "The access token has expired; its exp claim is past. Ask for a new one.",
    ),
    "audience": (
        "InvalidAuthenticationTokenAudience",
        "The access token is for another audience. Ask for https://management.azure.com/.",
    ),
}


def _check_arm(provider: Provider, request: Request, _admin: bool) -> None:
    token = bearer(request)
    if token is None:
        raise ApiError(
            401,
            "Authentication failed. The 'Authorization' header is missing.",
            code="AuthenticationFailed",
            headers={"www-authenticate": "Bearer"},
        )
    try:
        verify(provider, token, ARM_AUDIENCES)
    except Refused as refused:
        code, message = _ARM_TROUBLE[refused.why]
        headers = {"www-authenticate": 'Bearer error="invalid_token"'}
        raise ApiError(401, message, code=code, headers=headers) from None


def entra_error(error: ApiError) -> Response:
    """OAuth's envelope: ``error`` is a word of the standard, the description begins AADSTS."""
    given = error.body["error"]
    number = re.match(r"AADSTS(\d+)", str(given["message"]))
    return json_response(
        {
            "error": given["code"] or "invalid_request",
            "error_description": given["message"],
            "error_codes": [int(number.group(1))] if number else [],
            "correlation_id": "00000000-0000-4000-8000-000000000000",
            "trace_id": "00000000-0000-4000-8000-000000000000",
        },
        status=error.status,
        headers=error.headers,
    )


def _this_machine(provider: Provider, _request: Request, _admin: bool) -> None:
    # Its client secret is public and its metadata service asks for none: on a network, a token
    # would be a way around the key.
    if provider.config.host not in LOOPBACK:
        raise ApiError(
            403,
            f"The sandbox listens on {provider.config.host} and gives tokens on loopback only. "
            "Use its API key, or let it listen on 127.0.0.1.",
            code="access_denied",
        )


def home_of(request: Request) -> str:
    """The resource that a data-plane request is for; the root is filled in by the routes."""
    return f"azure/{request.path_params.get('account') or request.app.state.main_account}"


V1 = Face(
    authorise=partial(_check_data, classic=False),
    home=home_of,
    refuse=azure_error,
    request_id="apim-request-id",
    headers={"x-ms-region": "Sandbox"},
)
CLASSIC = replace(V1, authorise=partial(_check_data, classic=True))
ARM = Face(authorise=_check_arm, refuse=azure_error, request_id="x-ms-request-id")
ENTRA = Face(authorise=_this_machine, refuse=entra_error, request_id="x-ms-request-id")
