"""Entra's token endpoint and its discovery documents, and the metadata service of a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from understudy_sandbox.azure.settings import CLIENT_ID, CLIENT_SECRET, TENANT
from understudy_sandbox.errors import ApiError, json_response
from understudy_sandbox.routes.azure.face import ENTRA
from understudy_sandbox.routes.azure.tokens import issue
from understudy_sandbox.server import Operation

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from understudy_sandbox.provider import Provider

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_COMMON = frozenset({"common", "organizations"})


def _root(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


def _tenant(request: Request) -> str:
    name = str(request.path_params["tenant"])
    if name.lower() != TENANT and name not in _COMMON:
        raise ApiError(
            400,
            f"AADSTS90002: Tenant '{name}' not found. Check to make sure you have the correct "
            "tenant ID and are signing into the correct cloud.",
            code="invalid_request",
        )
    return name


async def configuration(_provider: Provider, request: Request) -> Response:
    """GET /{tenant}/v2.0/.well-known/openid-configuration."""
    root = f"{_root(request)}/{_tenant(request)}"
    return json_response(
        {
            "issuer": f"{root}/v2.0",
            "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
            "token_endpoint": f"{root}/oauth2/v2.0/token",
            "device_authorization_endpoint": f"{root}/oauth2/v2.0/devicecode",
            "jwks_uri": f"{root}/discovery/v2.0/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "tenant_region_scope": None,
        }
    )


async def instance(_provider: Provider, request: Request) -> Response:
    """GET /common/discovery/instance: this server is its own cloud."""
    root, host = _root(request), request.url.netloc
    return json_response(
        {
            "tenant_discovery_endpoint": f"{root}/{TENANT}/v2.0/.well-known/openid-configuration",
            "api-version": "1.1",
            "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
        }
    )


def _prove(form: dict[str, str]) -> None:
    if form.get("grant_type") != "client_credentials":
        raise ApiError(
            400,
            "AADSTS70003: The app requested an unsupported grant type "
            f"'{form.get('grant_type', '')}'. The sandbox knows client_credentials.",
            code="unsupported_grant_type",
        )
    if form.get("client_id") != CLIENT_ID:
        raise ApiError(
            400,
            f"AADSTS700016: Application with identifier '{form.get('client_id', '')}' was not "
            f"found in the directory '{TENANT}'.",
            code="unauthorized_client",
        )
    assertion = form.get("client_assertion")
    if assertion is not None:
        if form.get("client_assertion_type") != _ASSERTION or assertion.count(".") != 2:
            raise ApiError(
                401,
                "AADSTS50027: JWT token is invalid or malformed. Send a federated token.",
                code="invalid_client",
            )
    elif form.get("client_secret") != CLIENT_SECRET:
        raise ApiError(
            401,
            "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the "
            "request is the client secret value, not the client secret ID, for a secret added to "
            f"app '{CLIENT_ID}'.",
            code="invalid_client",
        )


def _real_life(provider: Provider, seconds: int) -> int:
    # Clients keep a token by their own clock, which a fast sandbox overtakes.
    speed = provider.clock.speed
    return max(1, int(seconds / speed)) if speed > 1 else seconds


async def token(provider: Provider, request: Request) -> Response:
    """POST /{tenant}/oauth2/v2.0/token."""
    _tenant(request)
    form = {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}
    _prove(form)
    scope = form.get("scope", "")
    audience, dot, _ = scope.partition("/.default")
    if not dot or not audience:
        raise ApiError(
            400,
            f"AADSTS70011: The provided request must include a 'scope' input parameter that ends "
            f"with /.default; '{scope}' is not valid.",
            code="invalid_scope",
        )
    made, life = issue(provider, audience)
    shown = _real_life(provider, life)
    return json_response(
        {
            "token_type": "Bearer",
            "expires_in": shown,
            "ext_expires_in": shown,
            "access_token": made,
        }
    )


async def machine(provider: Provider, request: Request) -> Response:
    """GET /metadata/identity/oauth2/token: a managed identity's token, all values as text.

    Raises:
        ApiError: 400, the header ``Metadata: true`` or the resource is missing.
    """
    if request.headers.get("metadata", "").lower() != "true":
        raise ApiError(400, "Required metadata header not specified", code="invalid_request")
    resource = request.query_params.get("resource")
    if not resource:
        raise ApiError(
            400,
            "AADSTS50001: The application was not found: the query names no resource.",
            code="invalid_resource",
        )
    wanted = request.query_params.get("client_id")
    if wanted not in (None, CLIENT_ID):
        raise ApiError(400, "Identity not found", code="invalid_request")
    made, life = issue(provider, resource.rstrip("/"))
    shown = _real_life(provider, life)
    now = int(provider.clock.real())
    return json_response(
        {
            "access_token": made,
            "client_id": CLIENT_ID,
            "expires_in": str(shown),
            "expires_on": str(now + shown),
            "ext_expires_in": str(shown),
            "not_before": str(now),
            "resource": resource,
            "token_type": "Bearer",
        }
    )


def _open(name: str, method: str, path: str, handler: object) -> Operation:
    return Operation(name=name, method=method, path=path, handler=handler, face=ENTRA)  # type: ignore[arg-type]


OPERATIONS = (
    _open("entra.instance", "GET", "/common/discovery/instance", instance),
    _open(
        "entra.configuration",
        "GET",
        "/{tenant}/v2.0/.well-known/openid-configuration",
        configuration,
    ),
    _open("entra.token", "POST", "/{tenant}/oauth2/v2.0/token", token),
    _open("imds.token", "GET", "/metadata/identity/oauth2/token", machine),
)
