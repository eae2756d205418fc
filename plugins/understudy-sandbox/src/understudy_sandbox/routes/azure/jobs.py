"""Fine-tuning jobs on Azure's data plane."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from starlette.responses import Response

from understudy_sandbox.azure import views
from understudy_sandbox.azure.schemas import job_body
from understudy_sandbox.azure.tiers import (
    PRICE_TIERS,
    WAITING,
    check_method,
    check_region,
    no_fine_tuning,
    queue_of,
    training_tier,
)
from understudy_sandbox.errors import ApiError, json_response
from understudy_sandbox.jobview import checkpoints, events, job_view
from understudy_sandbox.routes import jobs
from understudy_sandbox.routes.azure.face import api_version
from understudy_sandbox.routes.azure.places import Place
from understudy_sandbox.routes.azure.shared import is_v1, location
from understudy_sandbox.routes.paging import ends, page

if TYPE_CHECKING:
    from starlette.requests import Request

    from understudy_sandbox.catalog import Resolved
    from understudy_sandbox.provider import Provider
    from understudy_sandbox.server import Handler
    from understudy_sandbox.state import Doc


def _job_view(provider: Provider, request: Request, job: Doc) -> Doc:
    now = provider.clock.now()
    return views.azure_job(job, job_view(job, now), now, v1=is_v1(request))


def _base(provider: Provider, name: str, home: str) -> Resolved:
    try:
        found = provider.catalog.tunable(name, "supervised")
    except ApiError:
        raise no_fine_tuning(name) from None
    if found.tuned is not None and found.tuned.get("home") != home:
        raise no_fine_tuning(name)
    return found


def _check_queue(provider: Provider, queue: Doc) -> None:
    jobs_here = [
        j for j in provider.state.docs["job"] if not j["final"] and j.get("queue") == queue
    ]
    if len(jobs_here) >= queue["places"] + WAITING:
        raise ApiError(
            429,
            f"The resource has {queue['places']} fine-tuning jobs running and {WAITING} waiting, "
            "and takes no more. Create the job when one of them has ended.",
            code="quotaExceeded",
            headers={"retry-after": "60"},
        )


async def create_job(provider: Provider, request: Request) -> Response:
    """POST /fine_tuning/jobs: 201 with Location."""
    home = request.state.home
    given, body = await job_body(request, api_version(request), v1=is_v1(request))
    found = _base(provider, body.model, home)
    tier = training_tier(given.get("trainingType"), body.model)
    check_region(provider.config.azure.accounts[home.removeprefix("azure/")], body.model)
    check_method(found, body.method.type if body.method else "supervised", body.model)
    provider.trainer.settle()
    queue = queue_of(home, tier)
    _check_queue(provider, queue)
    name = uuid4().hex
    suffix = f"-{body.suffix}" if body.suffix else ""
    job = jobs.take_job(
        provider,
        body,
        home=home,
        id=f"ftjob-{name}",
        named=f"{found.base}.ft-{name}{suffix}",
        tier=PRICE_TIERS[tier],
        training_type=tier,
        queue=queue,
        slot_at=None,
    )
    shown = _job_view(provider, request, job)
    return json_response(shown, status=201, headers=location(request, job["id"]))


async def get_job(provider: Provider, request: Request) -> Response:
    """GET /fine_tuning/jobs/{id}."""
    provider.trainer.settle()
    return json_response(_job_view(provider, request, jobs.job_of(provider, request)))


async def list_jobs(provider: Provider, request: Request) -> Response:
    """GET /fine_tuning/jobs."""
    provider.trainer.settle()
    shown, more = page(request, provider.visible("job", request.state.home))
    data = [_job_view(provider, request, j) for j in shown]
    return json_response({"object": "list", "data": data, "has_more": more})


async def list_events(provider: Provider, request: Request) -> Response:
    """GET /fine_tuning/jobs/{id}/events."""
    made = [
        views.azure_event(e) for e in events(jobs.job_of(provider, request), provider.clock.now())
    ]
    shown, more = page(request, made)
    return json_response({"object": "list", "data": shown, "has_more": more})


async def list_checkpoints(provider: Provider, request: Request) -> Response:
    """GET /fine_tuning/jobs/{id}/checkpoints."""
    made = [views.azure_checkpoint(c) for c in checkpoints(jobs.job_of(provider, request))]
    shown, more = page(request, made, usual=10)
    return json_response({"object": "list", "data": shown, "has_more": more, **ends(shown)})


def _needs_length(request: Request) -> None:
    sent = request.headers
    if "content-length" not in sent and "transfer-encoding" not in sent:
        raise ApiError(
            411,
            "Length Required: send a body, or the header Content-Length: 0.",
            code="411",
        )


def _moved(move: Handler) -> Handler:
    async def act(provider: Provider, request: Request) -> Response:
        _needs_length(request)
        jobs.job_of(provider, request)
        await move(provider, request)
        return json_response(_job_view(provider, request, jobs.job_of(provider, request)))

    return act


async def delete_job(provider: Provider, request: Request) -> Response:
    """DELETE /fine_tuning/jobs/{id}: 204, absent ones too; its model goes with it.

    Raises:
        ApiError: 409, it runs still or its model is deployed.
    """
    job = provider.state.docs["job"].get(request.path_params["id"])
    if job is None or job["home"] != request.state.home:
        return Response(status_code=204)
    provider.trainer.refresh(job)
    if not job["final"]:
        raise ApiError(409, f"The job {job['id']} has not ended. Cancel it first.", code="conflict")
    name = job["final"].get("model")
    if name and any(d["model"]["name"] == name for d in provider.deployments.all()):
        raise ApiError(
            409, f"The model {name} is deployed. Delete its deployments first.", code="conflict"
        )
    provider.state.docs["job"].delete(job["id"])
    for doc in provider.state.docs["model"]:
        if doc["job"] == job["id"]:
            provider.state.docs["model"].delete(doc["id"])
    return Response(status_code=204)


_JOBS = "/fine_tuning/jobs"
_NAME = "fine_tuning.jobs"
_JOB = f"{_JOBS}/{{id}}"
ROUTES = (
    Place(f"{_NAME}.create", "POST", _JOBS, create_job),
    Place(f"{_NAME}.list", "GET", _JOBS, list_jobs),
    Place(f"{_NAME}.retrieve", "GET", _JOB, get_job),
    Place(f"{_NAME}.delete", "DELETE", _JOB, delete_job),
    Place(f"{_NAME}.list_events", "GET", f"{_JOB}/events", list_events),
    Place(f"{_NAME}.checkpoints.list", "GET", f"{_JOB}/checkpoints", list_checkpoints),
    Place(f"{_NAME}.cancel", "POST", f"{_JOB}/cancel", _moved(jobs.cancel)),
    Place(f"{_NAME}.pause", "POST", f"{_JOB}/pause", _moved(jobs.pause)),
    Place(f"{_NAME}.resume", "POST", f"{_JOB}/resume", _moved(jobs.resume)),
)
