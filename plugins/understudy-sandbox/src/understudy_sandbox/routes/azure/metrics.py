"""Azure Monitor below a resource: how often each deployment was called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy_sandbox.azure.armview import account_id
from understudy_sandbox.azure.metrics import metrics_view, query_of
from understudy_sandbox.errors import json_response
from understudy_sandbox.routes.azure.arm import ACCOUNT, account_of
from understudy_sandbox.routes.azure.face import ARM
from understudy_sandbox.server import Operation

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from understudy_sandbox.provider import Provider


async def metrics(provider: Provider, request: Request) -> Response:
    """GET of a resource's metrics."""
    name, region = account_of(provider, request)
    query = query_of(request.query_params, provider.clock.now())
    docs = provider.deployments.of(name)
    return json_response(metrics_view(docs, query, resource=account_id(name), region=region))


OPERATIONS = (
    Operation(
        name="arm.metrics.list",
        method="GET",
        path=f"{ACCOUNT}/providers/Microsoft.Insights/metrics",
        handler=metrics,
        face=ARM,
    ),
)
