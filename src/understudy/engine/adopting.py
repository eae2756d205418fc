"""Taking in what exists at a provider already: jobs made elsewhere, and checkpoints."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from understudy.backend import Backend, SupportsList
from understudy.costs import ledger
from understudy.engine import jobs, operations
from understudy.engine.context import Engine
from understudy.engine.jobs import JobRecord, Plan
from understudy.engine.looking import checkpoints, training_handle
from understudy.engine.registering import lineage
from understudy.errors import ConfigError
from understudy.model import Checkpoint, Handle, ModelRef
from understudy.states import Event
from understudy.store import registry, schema
from understudy.validation import nearest

__all__ = ["adopt", "register_checkpoint"]


def adopt(
    engine: Engine, *, plan: Plan, backend: str, dataset_id: str, run_key: str, remote_id: str
) -> JobRecord:
    """Make a job out of one that somebody started at the provider without Understudy.

    Nothing is uploaded or created. From here on it is watched, registered and evaluated as any
    other; what the provider billed for its training is booked when it has ended.

    Raises:
        BudgetExceeded: the reservation does not fit; nothing was written.
        ConfigError: the run, or the provider's job, belongs to a job already.
        NotFound: the provider has no such job.
    """
    handle = _look_up(engine.backends.backend(backend), remote_id, plan.spec.base_model)
    now = engine.now()
    with engine.store.write() as tx:
        _refuse_known(tx, run_key, backend, remote_id)
        job = jobs.create(
            tx,
            plan=plan,
            backend=backend,
            dataset_id=dataset_id,
            run_key=run_key,
            train_key=f"{backend}:{remote_id}",
            at=now,
        )
        for event in (Event.UPLOAD, Event.UPLOADED, Event.ATTACH):
            jobs.apply(
                tx,
                job.id,
                event,
                at=now,
                cause=f"made elsewhere: {remote_id}",
                worker=engine.worker,
            )
        _reserve(tx, job, now)
        _watch(tx, job, handle, now)
        return jobs.get(tx, job.id)


def _look_up(backend: Backend, remote_id: str, base_model: str) -> Handle:
    handle = Handle(kind="job", id=remote_id)
    backend.poll(handle)
    if isinstance(backend, SupportsList):
        handle = next((found for found, _ in backend.jobs() if found.id == remote_id), handle)
    base = handle.data.get("base_model", base_model)
    if base != base_model:
        raise ConfigError(
            f"{remote_id} trains {base}, the recipe {base_model}; correct base_model in [train]"
        )
    # Kept in the handle, and so in the lineage: nobody here knows which rows it was trained on.
    return replace(handle, data={**handle.data, "made_elsewhere": True})


def _refuse_known(tx: sa.Connection, run_key: str, backend: str, remote_id: str) -> None:
    run = jobs.find_run(tx, run_key)
    if run is not None:
        raise ConfigError(
            f"this recipe's run is {run.id} already, and it is {run.state.value}; attach with "
            f"`understudy jobs attach {run.id} {remote_id}`, or change the recipe"
        )
    owner = operations.owner(tx, backend, remote_id)
    if owner is not None:
        raise ConfigError(f"{remote_id} belongs to {owner} already")


def _reserve(tx: sa.Connection, job: JobRecord, now: float) -> None:
    plan = job.plan
    for kind, nanos in (("train", plan.train_at_most), ("evaluate", plan.evaluate_at_most)):
        ledger.reserve(
            tx,
            budget=plan.budget,
            operation=f"{job.id}.{kind}.1",
            job_id=job.id,
            kind=kind,
            nanos=nanos,
            at=now,
        )


def _watch(tx: sa.Connection, job: JobRecord, handle: Handle, now: float) -> None:
    key = f"{job.id}.train.1"
    operations.insert(tx, key=key, kind="train", backend=job.backend, at=now, job_id=job.id)
    stored = {"kind": handle.kind, "id": handle.id, "data": dict(handle.data)}
    tx.execute(
        sa.update(schema.operations)
        .where(schema.operations.c.key == key)
        .values(status="live", handle=stored)
    )


def register_checkpoint(engine: Engine, job_id: str, which: str) -> registry.ModelVersion:
    """Make a model version of a checkpoint. It is not evaluated, so an alias needs force.

    Args:
        engine: the engine.
        job_id: the job.
        which: the checkpoint's id, or its step.

    Raises:
        ConfigError: the job has no such checkpoint, and the message names those it has; or models
            of its backend are files, and checkpoints are not exported.
    """
    found = _pick(checkpoints(engine.store, engine.backends, job_id), job_id, which)
    _refuse_unexported(engine, job_id, found)
    with engine.store.write() as tx:
        job = jobs.get(tx, job_id)
        handle = training_handle(tx, job.id)
        assert handle is not None
        # The provider tells the owner of a finished model only; its checkpoints are served alike.
        owner = registry.get_model(tx, job.model_id).owner if job.model_id else None
        stored = {"kind": handle.kind, "id": handle.id, "data": dict(handle.data)}
        made = {"id": found.id, "step": found.step, "metrics": dict(found.metrics)}
        return registry.register(
            tx,
            name=job.name,
            ref=ModelRef(
                backend=job.backend,
                id=found.model,
                base_model=job.plan.spec.base_model,
                owner=owner,
            ),
            source=f"{job.id}.checkpoint.{found.id}",
            lineage={**lineage(job, stored), "checkpoint": made},
            at=engine.now(),
        )


def _refuse_unexported(engine: Engine, job_id: str, checkpoint: Checkpoint) -> None:
    with engine.store.read() as tx:
        backend = jobs.get(tx, job_id).backend
    if engine.backends.capabilities(backend).export.ok:
        raise ConfigError(
            f"a model of {backend} answers from the files of an export, and checkpoints are not "
            f"exported; to have step {checkpoint.step}, train with as many steps"
        )


def _pick(present: list[Checkpoint], job_id: str, which: str) -> Checkpoint:
    for checkpoint in present:
        if which in {checkpoint.id, str(checkpoint.step)}:
            return checkpoint
    if not present:
        raise ConfigError(f"{job_id} has no checkpoints; they appear when training has ended")
    known = [text for item in present for text in (str(item.step), item.id)]
    raise ConfigError(f"{job_id} has no checkpoint {which!r}: {nearest(which, known)}")
