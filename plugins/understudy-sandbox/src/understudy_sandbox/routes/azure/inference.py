"""Chat completions through deployments, plain and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from understudy_sandbox.azure import views
from understudy_sandbox.errors import ApiError, json_response
from understudy_sandbox.routes.azure.places import Place
from understudy_sandbox.routes.chat import answered, streamed
from understudy_sandbox.schemas import ChatRequest, validated

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from understudy_sandbox.provider import Provider


async def create(provider: Provider, request: Request) -> Response:
    """POST /deployments/{deployment}/chat/completions, or v1's /chat/completions.

    Raises:
        ApiError: 404, there is no such deployment, or it is not ready yet.
    """
    try:
        given = orjson.loads(await request.body() or b"{}")
    except orjson.JSONDecodeError:
        raise ApiError(400, "The body is not valid JSON.", code="BadRequest") from None
    named = request.path_params.get("deployment")
    body = validated(ChatRequest, {**given, "model": named} if named else given)
    provider.trainer.settle()
    account = request.state.home.removeprefix("azure/")
    model = provider.deployments.resolve(account, body.model)
    made = [views.azure_completion(m) for m in await answered(provider, body, model)]
    if not body.stream:
        return json_response(made[0])
    return streamed([views.prompt_chunk(made[0]), *made])


ROUTES = (
    Place(
        name="chat.completions.create",
        method="POST",
        path="/deployments/{deployment}/chat/completions",
        handler=create,
        v1=False,
    ),
    Place(
        name="chat.completions.create",
        method="POST",
        path="/chat/completions",
        handler=create,
        classic=False,
    ),
)
