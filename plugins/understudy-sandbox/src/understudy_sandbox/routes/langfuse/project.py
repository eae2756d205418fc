"""Health, and the project that a pair of keys belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy_sandbox.errors import json_response
from understudy_sandbox.langfuse.faults import OLD_VERSION, is_old
from understudy_sandbox.langfuse.views import PROJECT
from understudy_sandbox.routes.langfuse.face import HEALTH, LANGFUSE
from understudy_sandbox.routes.langfuse.shared import rules_of
from understudy_sandbox.server import Operation

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from understudy_sandbox.provider import Provider

VERSION = "5.0.0-understudy-sandbox"


async def health(_provider: Provider, request: Request) -> Response:
    """GET /api/public/health."""
    version = OLD_VERSION if is_old(rules_of(request)) else VERSION
    return json_response({"status": "OK", "version": version})


async def projects(_provider: Provider, _request: Request) -> Response:
    """GET /api/public/projects: what the SDKs' auth check asks."""
    organization = {"id": "understudy", "name": "Understudy"}
    project = {"id": PROJECT, "name": PROJECT, "organization": organization, "metadata": {}}
    return json_response({"data": [project]})


OPERATIONS = (
    Operation(
        name="langfuse.health",
        method="GET",
        path="/api/public/health",
        handler=health,
        face=HEALTH,
    ),
    Operation(
        name="langfuse.projects.get",
        method="GET",
        path="/api/public/projects",
        handler=projects,
        face=LANGFUSE,
    ),
)
