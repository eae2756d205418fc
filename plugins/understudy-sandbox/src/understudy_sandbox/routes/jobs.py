"""Fine-tuning jobs: create, list, retrieve, events, checkpoints, cancel, pause, resume."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson

from understudy_sandbox import timeline
from understudy_sandbox.errors import ApiError, json_response
from understudy_sandbox.jobview import checkpoints, events, job_view
from understudy_sandbox.routes.paging import ends, page
from understudy_sandbox.schemas import CreateJob, Hyperparameters, body_of
from understudy_sandbox.server import Operation
from understudy_sandbox.state import OPENAI_HOME
from understudy_sandbox.training import new_job

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from understudy_sandbox.config import Timings
    from understudy_sandbox.provider import Provider
    from understudy_sandbox.state import Doc

_METADATA = re.compile(r"metadata\[(.+)\]")


def _training_blob(provider: Provider, home: str, name: str, param: str) -> str:
    doc = provider.file(name, home=home, param=param, status=400)
    if doc["purpose"] != "fine-tune":
        raise ApiError(
            400,
            f"File {name} has the purpose {doc['purpose']}, not fine-tune. Upload it again with "
            "that purpose.",
            param=param,
            code="invalid_file_purpose",
        )
    return str(doc["blob"])


def _asked(body: CreateJob) -> tuple[str, Doc]:
    kind = body.method.type if body.method else "supervised"
    if kind == "reinforcement":
        raise ApiError(
            400,
            "The understudy sandbox does not do reinforcement fine-tuning; use supervised or dpo.",
            param="method.type",
            code="unsupported_method",
        )
    given = body.hyperparameters
    if body.method and kind == "supervised" and body.method.supervised:
        given = body.method.supervised.hyperparameters
    if body.method and kind == "dpo" and body.method.dpo:
        given = body.method.dpo.hyperparameters
    return kind, (given or Hyperparameters()).model_dump()


def _seed(body: CreateJob, blob: str, asked: Doc) -> int:
    if body.seed is not None:
        return body.seed
    # Drawn from the content, so that equal jobs share one fitted model.
    mixed = sha256(blob.encode() + orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).digest()
    return int.from_bytes(mixed[:4], "big") % 2**31


def _timings(times: Timings) -> dict[str, float]:
    return {name: getattr(times, name) for name in ("validating", "queued", "running", "pausing")}


async def create(provider: Provider, request: Request) -> Response:
    """POST /fine_tuning/jobs."""
    body = await body_of(request, CreateJob)
    job = take_job(provider, body, home=request.state.home)
    return json_response(job_view(job, provider.clock.now()))


def take_job(provider: Provider, body: CreateJob, *, home: str, **more: Any) -> Doc:
    """Take in a checked job.

    Args:
        provider: the sandbox.
        body: what is asked for.
        home: the resource that the job belongs to.
        more: further fields of its document, by which faces differ.

    Raises:
        ApiError: 400, the model or a file does not fit.
    """
    kind, asked = _asked(body)
    base = provider.catalog.tunable(body.model, kind)
    blob = _training_blob(provider, home, body.training_file, "training_file")
    second = (
        _training_blob(provider, home, body.validation_file, "validation_file")
        if body.validation_file
        else None
    )
    job = new_job(
        created=provider.clock.now(),
        model=base.name,
        base=base.base,
        parents=base.tuned["fit"]["datasets"] if base.tuned else [],
        training_file=body.training_file,
        training_blob=blob,
        validation_file=body.validation_file,
        validation_blob=second,
        method={"type": kind},
        asked=asked,
        seed=_seed(body, blob, asked),
        suffix=body.suffix,
        metadata=body.metadata,
        integrations=[i.model_dump(exclude_none=True) for i in body.integrations or ()],
        timings=_timings(provider.config.timings),
        home=home,
        **more,
    )
    return provider.trainer.add(job)


def job_of(provider: Provider, request: Request) -> Doc:
    """The job that a path names, brought to where it should be now.

    Raises:
        ApiError: 404, there is none.
    """
    name = request.path_params["id"]
    job = provider.state.docs["job"].get(name)
    if job is None or job.get("home", OPENAI_HOME) != request.state.home:
        raise ApiError(
            404,
            f"Could not find fine tune: {name}. List the jobs.",
            param="fine_tune_id",
            code="fine_tune_not_found",
        )
    provider.trainer.refresh(job)
    return job


def _fits_metadata(request: Request, jobs: list[Doc]) -> list[Doc]:
    wanted = {}
    for key, value in request.query_params.multi_items():
        matched = _METADATA.fullmatch(key)
        if matched:
            wanted[matched.group(1)] = value
        elif key == "metadata" and value == "null":
            return [j for j in jobs if not j["metadata"]]
    return [j for j in jobs if wanted.items() <= (j["metadata"] or {}).items()]


async def listed(provider: Provider, request: Request) -> Response:
    """GET /fine_tuning/jobs."""
    provider.trainer.settle()
    jobs = provider.visible("job", request.state.home)
    shown, more = page(request, _fits_metadata(request, jobs))
    now = provider.clock.now()
    data = [job_view(j, now) for j in shown]
    return json_response({"object": "list", "data": data, "has_more": more})


async def retrieve(provider: Provider, request: Request) -> Response:
    """GET /fine_tuning/jobs/{id}."""
    return json_response(job_view(job_of(provider, request), provider.clock.now()))


async def list_events(provider: Provider, request: Request) -> Response:
    """GET /fine_tuning/jobs/{id}/events."""
    made = events(job_of(provider, request), provider.clock.now())
    shown, more = page(request, made)
    return json_response({"object": "list", "data": shown, "has_more": more})


async def list_checkpoints(provider: Provider, request: Request) -> Response:
    """GET /fine_tuning/jobs/{id}/checkpoints."""
    shown, more = page(request, checkpoints(job_of(provider, request)), usual=10)
    return json_response({"object": "list", "data": shown, "has_more": more, **ends(shown)})


def _refuse(job: Doc, now: float, what: str) -> ApiError:
    return ApiError(
        400,
        f"Job {job['id']} cannot be {what}: its status is {timeline.status(job, now)}.",
        code="invalid_job_status",
    )


async def cancel(provider: Provider, request: Request) -> Response:
    """POST /fine_tuning/jobs/{id}/cancel."""
    job, now = job_of(provider, request), provider.clock.now()
    if job["final"]:
        raise _refuse(job, now, "cancelled")
    provider.trainer.cancel(job)
    return json_response(job_view(job, provider.clock.now()))


async def pause(provider: Provider, request: Request) -> Response:
    """POST /fine_tuning/jobs/{id}/pause."""
    job, now = job_of(provider, request), provider.clock.now()
    if timeline.status(job, now) != "running":
        raise _refuse(job, now, "paused")
    provider.trainer.pause(job)
    return json_response(job_view(job, provider.clock.now()))


async def resume(provider: Provider, request: Request) -> Response:
    """POST /fine_tuning/jobs/{id}/resume."""
    job, now = job_of(provider, request), provider.clock.now()
    if timeline.status(job, now) not in {"paused", "pausing"}:
        raise _refuse(job, now, "resumed")
    provider.trainer.resume(job)
    return json_response(job_view(job, provider.clock.now()))


_JOBS = "/v1/fine_tuning/jobs"
_NAME = "fine_tuning.jobs"
OPERATIONS = (
    Operation(name=f"{_NAME}.create", method="POST", path=_JOBS, handler=create),
    Operation(name=f"{_NAME}.list", method="GET", path=_JOBS, handler=listed),
    Operation(name=f"{_NAME}.retrieve", method="GET", path=f"{_JOBS}/{{id}}", handler=retrieve),
    Operation(
        name=f"{_NAME}.list_events",
        method="GET",
        path=f"{_JOBS}/{{id}}/events",
        handler=list_events,
    ),
    Operation(
        name=f"{_NAME}.checkpoints.list",
        method="GET",
        path=f"{_JOBS}/{{id}}/checkpoints",
        handler=list_checkpoints,
    ),
    Operation(name=f"{_NAME}.cancel", method="POST", path=f"{_JOBS}/{{id}}/cancel", handler=cancel),
    Operation(name=f"{_NAME}.pause", method="POST", path=f"{_JOBS}/{{id}}/pause", handler=pause),
    Operation(name=f"{_NAME}.resume", method="POST", path=f"{_JOBS}/{{id}}/resume", handler=resume),
)
