"""What brings traces: OTLP, and the batch of older SDKs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from understudy_sandbox.errors import ApiError, json_response
from understudy_sandbox.langfuse.faults import late
from understudy_sandbox.langfuse.legacy import ingest
from understudy_sandbox.langfuse.otlp import spans_of, unpacked
from understudy_sandbox.langfuse.spans import observation
from understudy_sandbox.routes.langfuse.face import LANGFUSE
from understudy_sandbox.routes.langfuse.shared import json_of, rules_of
from understudy_sandbox.server import Operation

if TYPE_CHECKING:
    from starlette.requests import Request

    from understudy_sandbox.provider import Provider


async def export(provider: Provider, request: Request) -> Response:
    """POST /api/public/otel/v1/traces: spans as protobuf or JSON, packed or not.

    A span that comes again takes the place of the first.
    """
    headers = request.headers
    body = unpacked(await request.body(), headers.get("content-encoding", "").lower())
    kind = headers.get("content-type", "")
    now = provider.clock.now()
    made = [observation(span, now=now) for span in spans_of(body, kind)]
    provider.langfuse.put_observations(made, late=late(rules_of(request)))
    if kind.startswith("application/json"):
        return json_response({})
    return Response(b"", media_type="application/x-protobuf")


async def batch(provider: Provider, request: Request) -> Response:
    """POST /api/public/ingestion: events of older SDKs; each is answered for itself."""
    body = await json_of(request)
    events = body.get("batch") if isinstance(body, dict) else None
    if not isinstance(events, list):
        raise ApiError(400, "batch: it is no list of events.")
    made = ingest(provider.langfuse, events, now=provider.clock.now())
    return json_response(made, status=207)


OPERATIONS = (
    Operation(
        name="langfuse.otel.export",
        method="POST",
        path="/api/public/otel/v1/traces",
        handler=export,
        face=LANGFUSE,
    ),
    Operation(
        name="langfuse.ingestion.batch",
        method="POST",
        path="/api/public/ingestion",
        handler=batch,
        face=LANGFUSE,
    ),
)
