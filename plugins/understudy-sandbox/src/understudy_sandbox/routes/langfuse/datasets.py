"""Datasets and their items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from understudy_sandbox.errors import ApiError, json_response
from understudy_sandbox.langfuse.times import iso
from understudy_sandbox.langfuse.views import PROJECT
from understudy_sandbox.routes.langfuse.face import LANGFUSE
from understudy_sandbox.routes.langfuse.shared import json_of, numbered_page
from understudy_sandbox.server import Operation
from understudy_sandbox.state import new_id

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from understudy_sandbox.provider import Provider
    from understudy_sandbox.state import Doc


class _Dataset(BaseModel):
    model_config = ConfigDict(extra="ignore")
    name: str
    description: str | None = None
    metadata: Any = None
    inputSchema: Any = None  # noqa: N815 - names of the wire, here and below
    expectedOutputSchema: Any = None  # noqa: N815


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore")
    datasetName: str  # noqa: N815
    id: str | None = None
    input: Any = None
    expectedOutput: Any = None  # noqa: N815
    metadata: Any = None
    sourceTraceId: str | None = None  # noqa: N815
    sourceObservationId: str | None = None  # noqa: N815
    status: Literal["ACTIVE", "ARCHIVED"] | None = None


async def _body(request: Request, kind: type[BaseModel]) -> Any:
    try:
        return kind.model_validate(await json_of(request))
    except ValidationError as error:
        first = error.errors()[0]
        raise ApiError(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _dataset(provider: Provider, name: str) -> Doc:
    found = provider.langfuse.dataset(name)
    if found is None:
        raise ApiError(404, f"There is no dataset {name!r}. Make it first.")
    return found


async def create(provider: Provider, request: Request) -> Response:
    """POST /api/public/v2/datasets: one of the same name is changed."""
    given = await _body(request, _Dataset)
    now = iso(provider.clock.now() * 1000)
    known = provider.langfuse.dataset(given.name)
    made = {
        "id": known["id"] if known else new_id("dataset-", 20),
        "projectId": PROJECT,
        "createdAt": known["createdAt"] if known else now,
        "updatedAt": now,
        **given.model_dump(),
    }
    provider.langfuse.put_dataset(made)
    return json_response(made)


async def listed(provider: Provider, request: Request) -> Response:
    """GET /api/public/v2/datasets."""
    return json_response(numbered_page(request, provider.langfuse.datasets()))


async def retrieve(provider: Provider, request: Request) -> Response:
    """GET /api/public/v2/datasets/{name}."""
    return json_response(_dataset(provider, request.path_params["name"]))


async def create_item(provider: Provider, request: Request) -> Response:
    """POST /api/public/dataset-items: one of the same id is changed."""
    given = await _body(request, _Item)
    dataset = _dataset(provider, given.datasetName)
    now = iso(provider.clock.now() * 1000)
    known = provider.langfuse.item(given.id) if given.id else None
    if known is not None and known["datasetId"] != dataset["id"]:
        raise ApiError(404, f"The item {given.id} belongs to another dataset.")
    made = {
        **given.model_dump(),
        "status": given.status or "ACTIVE",
        "id": given.id or new_id("item-", 20),
        "datasetId": dataset["id"],
        "createdAt": known["createdAt"] if known else now,
        "updatedAt": now,
        "mediaReferences": [],
    }
    provider.langfuse.put_item(made)
    return json_response(made)


async def list_items(provider: Provider, request: Request) -> Response:
    """GET /api/public/dataset-items."""
    query = request.query_params
    docs = [
        doc
        for doc in provider.langfuse.items(query.get("datasetName"))
        if all(
            query.get(name) in (None, doc[name])
            for name in ("sourceTraceId", "sourceObservationId")
        )
    ]
    return json_response(numbered_page(request, docs))


async def retrieve_item(provider: Provider, request: Request) -> Response:
    """GET /api/public/dataset-items/{item}."""
    found = provider.langfuse.item(request.path_params["item"])
    if found is None:
        raise ApiError(404, f"There is no dataset item {request.path_params['item']}.")
    return json_response(found)


async def delete_item(provider: Provider, request: Request) -> Response:
    """DELETE /api/public/dataset-items/{item}."""
    if not provider.langfuse.delete_item(request.path_params["item"]):
        raise ApiError(404, f"There is no dataset item {request.path_params['item']}.")
    return json_response({"message": "Dataset item deleted"})


def _operation(name: str, method: str, path: str, handler: Any) -> Operation:
    path = f"/api/public/{path}"
    return Operation(
        name=f"langfuse.{name}", method=method, path=path, handler=handler, face=LANGFUSE
    )


OPERATIONS = (
    _operation("datasets.create", "POST", "v2/datasets", create),
    _operation("datasets.list", "GET", "v2/datasets", listed),
    _operation("datasets.get", "GET", "v2/datasets/{name:path}", retrieve),
    _operation("dataset_items.create", "POST", "dataset-items", create_item),
    _operation("dataset_items.list", "GET", "dataset-items", list_items),
    _operation("dataset_items.get", "GET", "dataset-items/{item}", retrieve_item),
    _operation("dataset_items.delete", "DELETE", "dataset-items/{item}", delete_item),
)
