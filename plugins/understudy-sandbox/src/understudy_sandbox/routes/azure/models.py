"""Models on Azure's data plane."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from understudy_sandbox.errors import json_response
from understudy_sandbox.routes import models
from understudy_sandbox.routes.azure.places import Place
from understudy_sandbox.routes.azure.shared import is_v1

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from understudy_sandbox.provider import Provider
    from understudy_sandbox.state import Doc


def _seconds(day: str) -> int:
    return int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp())


def _model_view(provider: Provider, shown: Doc) -> Doc:
    tuned = provider.state.docs["model"].get(shown["id"])
    base = tuned["base"] if tuned else shown["id"]
    alive = not provider.catalog.is_retired(base)
    made = {
        "id": shown["id"],
        "object": "model",
        "status": "succeeded",
        "created_at": shown["created"],
        "updated_at": shown["created"],
        "lifecycle_status": "generally-available" if alive else "deprecated",
        "capabilities": {
            "fine_tune": provider.catalog.trains(base),
            "inference": tuned is None and alive,
            "completion": False,
            "chat_completion": True,
            "embeddings": False,
        },
        "deprecation": {"fine_tune": _seconds(provider.catalog.ends(base))},
    }
    made["deprecation"]["inference"] = made["deprecation"]["fine_tune"]
    if tuned:
        made["model"] = base
        made["fine_tune"] = tuned["job"]
    return made


async def list_models(provider: Provider, request: Request) -> Response:
    """GET /models."""
    provider.trainer.settle()
    shown = provider.catalog.all(request.state.home)
    if not is_v1(request):
        shown = [_model_view(provider, m) for m in shown]
    return json_response({"object": "list", "data": shown})


async def get_model(provider: Provider, request: Request) -> Response:
    """GET /models/{model}."""
    provider.trainer.settle()
    shown = provider.catalog.view(request.path_params["model"])
    return json_response(shown if is_v1(request) else _model_view(provider, shown))


ROUTES = (
    Place("models.list", "GET", "/models", list_models),
    Place("models.retrieve", "GET", "/models/{model}", get_model),
    Place("models.delete", "DELETE", "/models/{model}", models.delete),
)
