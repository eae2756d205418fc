"""Models, and who may use a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy_sandbox.errors import ApiError, json_response, no_model, not_found
from understudy_sandbox.routes.paging import ends, page
from understudy_sandbox.schemas import CreatePermissions, body_of
from understudy_sandbox.server import Operation
from understudy_sandbox.state import new_id

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from understudy_sandbox.provider import Provider
    from understudy_sandbox.state import Doc


async def listed(provider: Provider, _request: Request) -> Response:
    """GET /models."""
    provider.trainer.settle()
    return json_response({"object": "list", "data": provider.catalog.all()})


async def retrieve(provider: Provider, request: Request) -> Response:
    """GET /models/{model}."""
    provider.trainer.settle()
    return json_response(provider.catalog.view(request.path_params["model"]))


async def delete(provider: Provider, request: Request) -> Response:
    """DELETE /models/{model}: a fine-tuned one, with its checkpoints."""
    name = request.path_params["model"]
    models = provider.state.docs["model"]
    provider.catalog.view(name)
    if models.get(name) is None:
        raise ApiError(
            403,
            f"The model {name} is a base model and cannot be deleted.",
            param="model",
            code="model_not_deletable",
        )
    for doc in models:
        if doc["id"] == name or doc["id"].startswith(f"{name}:ckpt-step-"):
            models.delete(doc["id"])
    return json_response({"id": name, "object": "model", "deleted": True})


def _checkpoint(provider: Provider, request: Request) -> str:
    name = str(request.path_params["checkpoint"])
    if provider.state.docs["model"].get(name) is None:
        raise no_model(name)
    return name


def _view(doc: Doc) -> Doc:
    return {
        "object": "checkpoint.permission",
        "id": doc["id"],
        "created_at": int(doc["created"]),
        "project_id": doc["project_id"],
    }


async def permit(provider: Provider, request: Request) -> Response:
    """POST /fine_tuning/checkpoints/{checkpoint}/permissions."""
    name = _checkpoint(provider, request)
    body = await body_of(request, CreatePermissions)
    docs = [
        provider.state.docs["permission"].put(
            {
                "id": new_id("cp_"),
                "created": provider.clock.now(),
                "project_id": project,
                "checkpoint": name,
            }
        )
        for project in body.project_ids
    ]
    return json_response(
        {"object": "list", "data": [_view(d) for d in docs], "has_more": False, **ends(docs)}
    )


async def permissions(provider: Provider, request: Request) -> Response:
    """GET /fine_tuning/checkpoints/{checkpoint}/permissions."""
    name = _checkpoint(provider, request)
    project = request.query_params.get("project_id")
    docs = [
        d
        for d in provider.state.docs["permission"].newest_first()
        if d["checkpoint"] == name and project in (None, d["project_id"])
    ]
    if request.query_params.get("order") == "ascending":
        docs.reverse()
    shown, more = page(request, docs, usual=10)
    return json_response(
        {"object": "list", "data": [_view(d) for d in shown], "has_more": more, **ends(shown)}
    )


async def forbid(provider: Provider, request: Request) -> Response:
    """DELETE /fine_tuning/checkpoints/{checkpoint}/permissions/{id}."""
    name = request.path_params["id"]
    doc = provider.state.docs["permission"].get(name)
    if doc is None or doc["checkpoint"] != _checkpoint(provider, request):
        raise not_found("permission", name, param="permission_id")
    provider.state.docs["permission"].delete(name)
    return json_response({"object": "checkpoint.permission", "id": name, "deleted": True})


_PERMISSIONS = "/v1/fine_tuning/checkpoints/{checkpoint}/permissions"
_NAME = "fine_tuning.checkpoints.permissions"
OPERATIONS = (
    Operation(name="models.list", method="GET", path="/v1/models", handler=listed),
    Operation(name="models.retrieve", method="GET", path="/v1/models/{model}", handler=retrieve),
    Operation(name="models.delete", method="DELETE", path="/v1/models/{model}", handler=delete),
    Operation(name=f"{_NAME}.create", method="POST", path=_PERMISSIONS, handler=permit),
    Operation(name=f"{_NAME}.list", method="GET", path=_PERMISSIONS, handler=permissions),
    Operation(
        name=f"{_NAME}.delete", method="DELETE", path=f"{_PERMISSIONS}/{{id}}", handler=forbid
    ),
)
