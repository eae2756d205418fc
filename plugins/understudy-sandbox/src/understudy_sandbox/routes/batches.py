"""Batches: create, retrieve, list, cancel."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

from understudy_sandbox.batchfaults import KINDS
from understudy_sandbox.batching import (
    WINDOW,
    done_at,
    in_progress_at,
    new_batch,
    progress,
    status_of,
)
from understudy_sandbox.errors import ApiError, json_response, not_found
from understudy_sandbox.routes.paging import ends, page
from understudy_sandbox.schemas import CreateBatch, body_of
from understudy_sandbox.server import Operation
from understudy_sandbox.state import OPENAI_HOME

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from understudy_sandbox.provider import Provider
    from understudy_sandbox.state import Doc

_CHAT = "/v1/chat/completions"
_HOUR = 3600.0


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _counts(batch: Doc, status: str, now: float) -> Doc:
    final = batch["final"]
    if final and "zero_counts" in batch["faults"]:
        return {"total": 0, "completed": 0, "failed": 0}
    if final and "completed" in final:
        shown = {"completed": final["completed"], "failed": final["failed"]}
    else:
        done = int(progress(batch, now) * batch["total"]) if status == "in_progress" else 0
        shown = {"completed": batch["total"] if status == "finalizing" else done, "failed": 0}
    return {"total": batch["total"], **shown}


def _usage(batch: Doc) -> Doc:
    final = {} if "no_usage" in batch["faults"] else batch["final"] or {}
    inputs, outputs = final.get("inputs", 0), final.get("outputs", 0)
    return {
        "input_tokens": inputs,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": outputs,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": inputs + outputs,
    }


def batch_view(batch: Doc, now: float) -> Doc:
    """The ``batch`` object."""
    status = status_of(batch, now)
    final = batch["final"] or {}
    begun = (
        batch["checked_at"] is not None and not batch["problems"] and now >= in_progress_at(batch)
    )
    ended: dict[str, Any] = {
        f"{s}_at": None for s in ("completed", "failed", "expired", "cancelled")
    }
    if final:
        ended[f"{status}_at"] = _whole(final["at"])
    finalizing = status in {"finalizing", "completed"} and done_at(batch)
    return {
        "id": batch["id"],
        "object": "batch",
        "endpoint": batch["endpoint"],
        "model": batch["model"],
        "errors": {"object": "list", "data": batch["problems"]} if status == "failed" else None,
        "input_file_id": batch["input_file_id"],
        "completion_window": batch["completion_window"],
        "status": status,
        "output_file_id": final.get("output"),
        "error_file_id": final.get("errors"),
        "created_at": int(batch["created"]),
        "in_progress_at": int(in_progress_at(batch)) if begun else None,
        "expires_at": int(batch["created"] + WINDOW),
        "finalizing_at": int(finalizing) if finalizing else None,
        "cancelling_at": _whole(batch["cancelling_at"]),
        **ended,
        "request_counts": _counts(batch, status, now),
        "usage": _usage(batch),
        "metadata": batch["metadata"],
    }


async def create(provider: Provider, request: Request) -> Response:
    """POST /batches."""
    body = await body_of(request, CreateBatch)
    if body.endpoint != _CHAT:
        raise ApiError(
            400,
            f"The understudy sandbox answers batches of {_CHAT} only.",
            param="endpoint",
            code="unsupported_endpoint",
        )
    batch = take_batch(provider, request, body, most=provider.config.batch_requests)
    return json_response(batch_view(batch, provider.clock.now()))


def _room(provider: Provider, home: str) -> None:
    """Whether another batch may be created in this hour."""
    limit, since = provider.config.batches_per_hour, provider.clock.now() - _HOUR
    newest = provider.state.docs["batch"].newest_first()
    mine = (doc for doc in newest if doc["home"] == home)
    made = sum(1 for doc in takewhile(lambda doc: doc["created"] > since, mine))
    if made >= limit:
        raise ApiError(
            429,
            f"Rate limit reached: {limit} batches were created in the last hour. Try again later.",
            kind="requests",
            code="rate_limit_exceeded",
            headers={"retry-after": "60"},
        )


def take_batch(
    provider: Provider, request: Request, body: CreateBatch, *, most: int, **more: Any
) -> Doc:
    """Take in a checked batch of at most ``most`` requests.

    Raises:
        ApiError: 400, the file does not fit; 429, there were too many batches in this hour.
    """
    home = request.state.home
    _room(provider, home)
    doc = provider.file(body.input_file_id, home=home, param="input_file_id", status=400)
    if doc["purpose"] != "batch":
        raise ApiError(
            400,
            f"File {doc['id']} has the purpose {doc['purpose']}, not batch.",
            param="input_file_id",
            code="invalid_file_purpose",
        )
    times = provider.config.timings
    batch = new_batch(
        created=provider.clock.now(),
        endpoint=body.endpoint,
        input_file_id=doc["id"],
        blob=doc["blob"],
        completion_window=body.completion_window,
        metadata=body.metadata,
        results_kept=body.output_expires_after.seconds if body.output_expires_after else None,
        timings={
            "validating": times.batch_validating,
            "running": times.batch_running,
            "finalizing": times.batch_finalizing,
        },
        home=home,
        most=most,
        faults={r.do: r.of_batch() for r in request.state.rules if r.do in KINDS},
        **more,
    )
    return provider.batcher.add(batch)


def _batch(provider: Provider, request: Request) -> Doc:
    provider.batcher.settle()
    name = request.path_params["id"]
    batch = provider.state.docs["batch"].get(name)
    if batch is None or batch.get("home", OPENAI_HOME) != request.state.home:
        raise not_found("batch", name, param="batch_id")
    return batch


async def retrieve(provider: Provider, request: Request) -> Response:
    """GET /batches/{id}."""
    return json_response(batch_view(_batch(provider, request), provider.clock.now()))


async def listed(provider: Provider, request: Request) -> Response:
    """GET /batches."""
    provider.batcher.settle()
    docs = provider.visible("batch", request.state.home)
    shown, more = page(request, docs)
    now = provider.clock.now()
    data = [batch_view(d, now) for d in shown]
    return json_response({"object": "list", "data": data, "has_more": more, **ends(shown)})


async def cancel(provider: Provider, request: Request) -> Response:
    """POST /batches/{id}/cancel."""
    batch = _batch(provider, request)
    now = provider.clock.now()
    status = status_of(batch, now)
    if batch["final"]:
        raise ApiError(
            409,
            f"Batch {batch['id']} cannot be cancelled: its status is {status}.",
            code="invalid_batch_status",
        )
    if status != "cancelling":
        provider.batcher.cancel(batch)
    return json_response(batch_view(batch, provider.clock.now()))


OPERATIONS = (
    Operation(name="batches.create", method="POST", path="/v1/batches", handler=create),
    Operation(name="batches.list", method="GET", path="/v1/batches", handler=listed),
    Operation(name="batches.retrieve", method="GET", path="/v1/batches/{id}", handler=retrieve),
    Operation(name="batches.cancel", method="POST", path="/v1/batches/{id}/cancel", handler=cancel),
)
