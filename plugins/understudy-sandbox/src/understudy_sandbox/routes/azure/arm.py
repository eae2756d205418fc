"""Azure Resource Manager: deployments, accounts, models, usages, permissions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from understudy_sandbox.azure import offers
from understudy_sandbox.azure.armview import account_view, deployment_view
from understudy_sandbox.azure.deployments import new_deployment
from understudy_sandbox.azure.schemas import PutDeployment
from understudy_sandbox.azure.settings import RESOURCE_GROUP, SUBSCRIPTION
from understudy_sandbox.catalog import BASES
from understudy_sandbox.errors import ApiError, json_response
from understudy_sandbox.routes.azure.face import ARM, api_version
from understudy_sandbox.routes.azure.placing import check_place, source_account
from understudy_sandbox.schemas import body_of
from understudy_sandbox.server import Operation

if TYPE_CHECKING:
    from starlette.requests import Request

    from understudy_sandbox.provider import Provider
    from understudy_sandbox.state import Doc

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,63}")


def _missing(kind: str, what: str) -> ApiError:
    return ApiError(404, what, code=kind)


def _subscription(request: Request) -> None:
    given = str(request.path_params["sub"])
    if api_version(request) is None:
        raise ApiError(
            400,
            "The api-version query parameter (?api-version=) is required for all requests.",
            code="MissingApiVersionParameter",
        )
    if given.lower() != SUBSCRIPTION:
        raise _missing("SubscriptionNotFound", f"The subscription '{given}' could not be found.")


def account_of(provider: Provider, request: Request) -> tuple[str, str]:
    """Name and region of the resource that a path names."""
    _subscription(request)
    group, given = request.path_params["group"], request.path_params["account"]
    if group.lower() != RESOURCE_GROUP:
        raise _missing("ResourceGroupNotFound", f"Resource group '{group}' could not be found.")
    name = provider.config.azure.account(given)
    if name is None:
        raise _missing(
            "ResourceNotFound",
            f"The Resource 'Microsoft.CognitiveServices/accounts/{given}' under resource group "
            f"'{group}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
        )
    return name, provider.config.azure.accounts[name]


def _deployment(provider: Provider, account: str, name: str) -> Doc:
    doc = provider.deployments.find(account, name)
    if doc is None:
        raise _missing(
            "ResourceNotFound",
            f"The Resource 'Microsoft.CognitiveServices/accounts/{account}/deployments/{name}' "
            f"under resource group '{RESOURCE_GROUP}' was not found.",
        )
    return doc


def _follow(provider: Provider, request: Request, doc: Doc, what: str) -> dict[str, str]:
    """Headers that lead to the operation. One real second between looks: the clock may run fast."""
    name = provider.deployments.operation(doc, what)
    url = request.url
    place = (
        f"{url.scheme}://{url.netloc}/subscriptions/{SUBSCRIPTION}/providers/"
        f"Microsoft.CognitiveServices/locations/{doc['region']}"
    )
    query = f"{name}?api-version={request.query_params['api-version']}"
    return {
        "azure-asyncoperation": f"{place}/operationResults/{query}",
        "location": f"{place}/operationResults/{query}",
        "retry-after": "1",
    }


async def put(provider: Provider, request: Request) -> Response:
    """PUT of a deployment: 201 where it is made, 200 where it is there.

    Raises:
        ApiError: the model, the sku, the quota or the name does not allow it.
    """
    account, region = account_of(provider, request)
    name = request.path_params["name"]
    if not _NAME.fullmatch(name):
        raise ApiError(
            400,
            f"The deployment name '{name}' is not valid: 2 to 64 letters, digits, '_', '.', '-'.",
            code="InvalidResourceName",
        )
    provider.trainer.settle()
    body = await body_of(request, PutDeployment)
    found = provider.deployments.find(account, name)
    if found is not None:
        return _update(provider, request, body, found)
    doc = _made(provider, body, account=account, region=region, name=name)
    now = provider.clock.now()
    headers = _follow(provider, request, doc, "put")
    return json_response(deployment_view(doc, now), status=201, headers=headers)


def _made(provider: Provider, body: PutDeployment, *, account: str, region: str, name: str) -> Doc:
    place = check_place(provider, account, region, body)
    now, asked = provider.clock.now(), body.properties.model
    model = {"format": asked.format, "name": place.name, "version": place.version}
    source = source_account(asked)
    return provider.deployments.put(
        new_deployment(
            account=account,
            name=name,
            created=now,
            ready=now + provider.config.azure.deploy_seconds,
            region=region,
            sku=body.sku.name,
            capacity=body.sku.capacity,
            tags=body.tags or {},
            model={**model, "source": source} if source else model,
            base=place.base,
            tuned=place.tuned,
        )
    )


def _update(provider: Provider, request: Request, body: PutDeployment, doc: Doc) -> Response:
    now = provider.clock.now()
    if doc["deleting_at"] is not None:
        raise ApiError(
            409,
            f"The deployment '{doc['name']}' is being deleted. Wait until it is gone.",
            code="RequestConflict",
        )
    asked = body.properties.model
    version = asked.version or doc["model"]["version"]
    plain = offers.join_base(asked.name, asked.version)
    same = doc["base"] == plain and not doc["tuned"]
    if not same and (asked.name, version) != (doc["model"]["name"], doc["model"]["version"]):
        raise ApiError(
            409,
            f"The deployment '{doc['name']}' exists with the model '{doc['model']['name']}', not "
            f"'{asked.name}'. Choose another name, or delete it first.",
            code="Conflict",
        )
    if (body.sku.name, body.sku.capacity) != (doc["sku"], doc["capacity"]):
        check_place(provider, doc["account"], doc["region"], body, instead_of=doc)
    doc = provider.deployments.rescale(
        doc,
        sku=body.sku.name,
        capacity=body.sku.capacity,
        tags=doc["tags"] if body.tags is None else body.tags,
    )
    headers = _follow(provider, request, doc, "put")
    return json_response(deployment_view(doc, now), headers=headers)


async def get(provider: Provider, request: Request) -> Response:
    """GET of a deployment."""
    account, _ = account_of(provider, request)
    doc = _deployment(provider, account, request.path_params["name"])
    return json_response(deployment_view(doc, provider.clock.now()))


async def listed(provider: Provider, request: Request) -> Response:
    """GET of a resource's deployments."""
    account, _ = account_of(provider, request)
    now = provider.clock.now()
    docs = [d for d in provider.deployments.of(account) if d["visible_at"] <= now]
    return json_response({"value": [deployment_view(d, now) for d in docs]})


async def delete(provider: Provider, request: Request) -> Response:
    """DELETE of a deployment: 202, or 204 where there is none."""
    account, _ = account_of(provider, request)
    doc = provider.deployments.find(account, request.path_params["name"])
    if doc is None:
        return Response(status_code=204)
    provider.deployments.delete(doc)
    return Response(status_code=202, headers=_follow(provider, request, doc, "delete"))


async def operation(provider: Provider, request: Request) -> Response:
    """GET of a long-running operation's state."""
    _subscription(request)
    name = request.path_params["operation"]
    made = provider.deployments.progress(name)
    if made is None:
        raise _missing("ResourceNotFound", f"There is no operation '{name}'.")
    return json_response({"id": request.url.path, "name": name, **made})


async def account(provider: Provider, request: Request) -> Response:
    """GET of a resource."""
    name, region = account_of(provider, request)
    url = request.url
    root = f"{url.scheme}://{url.netloc}/"
    endpoint = root if name == provider.config.azure.main else f"{root}accounts/{name}/"
    return json_response(account_view(name, region, endpoint))


async def account_models(provider: Provider, request: Request) -> Response:
    """GET of the models that a resource can deploy."""
    _, region = account_of(provider, request)
    return json_response({"value": _models(provider, region)})


async def location_models(provider: Provider, request: Request) -> Response:
    """GET of the models of a region."""
    _subscription(request)
    region = request.path_params["location"]
    made = [
        {"kind": "OpenAI", "skuName": "S0", "description": "", "model": m}
        for m in _models(provider, region)
    ]
    return json_response({"value": made})


def _models(provider: Provider, region: str) -> list[dict[str, Any]]:
    quota = provider.config.azure.quota
    return [offers.model_view(provider.catalog, base, region, quota) for base in BASES]


async def usages(provider: Provider, request: Request) -> Response:
    """GET of a region's quotas and what is used of them."""
    _subscription(request)
    return json_response({"value": _usages(provider, request.path_params["location"])})


def _usages(provider: Provider, region: str) -> list[dict[str, Any]]:
    provider.deployments.settle()
    made = []
    for base in BASES:
        for sku in offers.SKUS:
            for tuned in (False, True):
                if offers.fits_sku(sku, tuned=tuned):
                    used = provider.deployments.used(region, sku, base, tuned=tuned)
                    made.append(
                        {
                            "name": {
                                "value": offers.usage_name(sku, base, tuned=tuned),
                                "localizedValue": offers.localized(sku, base, tuned=tuned),
                            },
                            "currentValue": float(used),
                            "limit": float(provider.config.azure.quota),
                            "unit": "Count",
                        }
                    )
    return made


async def account_usages(provider: Provider, request: Request) -> Response:
    """GET of the quotas that a resource draws on: those of its region."""
    _, region = account_of(provider, request)
    return json_response({"value": _usages(provider, region)})


async def permissions(provider: Provider, request: Request) -> Response:
    """GET of what the caller may do to a resource."""
    account_of(provider, request)
    return json_response(
        {
            "value": [
                {
                    "actions": ["Microsoft.CognitiveServices/*", "*/read"],
                    "notActions": [],
                    "dataActions": ["Microsoft.CognitiveServices/accounts/OpenAI/*"],
                    "notDataActions": [],
                }
            ]
        }
    )


_SUB = "/subscriptions/{sub}"
_SERVICE = "providers/Microsoft.CognitiveServices"
ACCOUNT = f"{_SUB}/resourceGroups/{{group}}/{_SERVICE}/accounts/{{account}}"
_ONE = f"{ACCOUNT}/deployments/{{name}}"
_REGION = f"{_SUB}/{_SERVICE}/locations/{{location}}"


def _arm(name: str, method: str, path: str, handler: object) -> Operation:
    return Operation(
        name=f"arm.{name}",
        method=method,
        path=path,
        handler=handler,  # type: ignore[arg-type]
        face=ARM,
    )


OPERATIONS = (
    _arm("deployments.create_or_update", "PUT", _ONE, put),
    _arm("deployments.get", "GET", _ONE, get),
    _arm("deployments.delete", "DELETE", _ONE, delete),
    _arm("deployments.list", "GET", f"{ACCOUNT}/deployments", listed),
    _arm("operations.get", "GET", f"{_REGION}/operationResults/{{operation}}", operation),
    _arm("accounts.get", "GET", ACCOUNT, account),
    _arm("accounts.list_models", "GET", f"{ACCOUNT}/models", account_models),
    _arm("accounts.list_usages", "GET", f"{ACCOUNT}/usages", account_usages),
    _arm("models.list", "GET", f"{_REGION}/models", location_models),
    _arm("usages.list", "GET", f"{_REGION}/usages", usages),
    _arm(
        "permissions.list",
        "GET",
        f"{ACCOUNT}/providers/Microsoft.Authorization/permissions",
        permissions,
    ),
)
