"""Batches on Azure's data plane: of base models, through deployments made for batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from understudy_sandbox.azure import views
from understudy_sandbox.azure.schemas import AzureBatch
from understudy_sandbox.errors import ApiError, json_response
from understudy_sandbox.routes import batches
from understudy_sandbox.routes.azure.places import Place
from understudy_sandbox.routes.azure.shared import location
from understudy_sandbox.routes.files import file_view
from understudy_sandbox.schemas import body_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from understudy_sandbox.provider import Provider
    from understudy_sandbox.server import Handler

_TIMES_OPENAI = 2  # requests that a batch may hold
_URLS = ("/chat/completions", "/v1/chat/completions")


async def create(provider: Provider, request: Request) -> Response:
    """POST /batches: 201; rows may have the url with ``/v1`` or without."""
    body = await body_of(request, AzureBatch)
    home = request.state.home
    doc = provider.file(body.input_file_id, home=home, param="input_file_id", status=400)
    if file_view(provider, doc)["status"] != "processed":
        raise ApiError(
            400,
            f"The file {doc['id']} is not processed yet. Wait until its status is processed.",
            param="input_file_id",
            code="invalidPayload",
        )
    most = _TIMES_OPENAI * provider.config.batch_requests
    batch = batches.take_batch(provider, request, body, endpoints=_URLS, most=most)
    shown = batches.batch_view(batch, provider.clock.now())
    headers = location(request, batch["id"])
    return json_response(views.azure_batch(shown), status=201, headers=headers)


def _reply(handler: Handler) -> Handler:
    async def act(provider: Provider, request: Request) -> Response:
        body = orjson.loads((await handler(provider, request)).body)
        if body["object"] == "list":
            body["data"] = [views.azure_batch(d) for d in body["data"]]
            return json_response(body)
        return json_response(views.azure_batch(body))

    return act


ROUTES = (
    Place("batches.create", "POST", "/batches", create),
    Place("batches.list", "GET", "/batches", _reply(batches.listed)),
    Place("batches.retrieve", "GET", "/batches/{id}", _reply(batches.retrieve)),
    Place("batches.cancel", "POST", "/batches/{id}/cancel", _reply(batches.cancel)),
)
