"""What a person may ask of a job: cancel, pause, resume, retry, attach."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from understudy.engine import jobs, operations
from understudy.engine.context import Engine
from understudy.engine.jobs import JobRecord, Plan
from understudy.errors import ConfigError
from understudy.model import Handle
from understudy.states import Event, State
from understudy.store.schema import operations as table

__all__ = ["attach", "cancel", "pause", "resume", "retry", "submit"]


def submit(engine: Engine, *, plan: Plan, backend: str, dataset_id: str, run_key: str) -> JobRecord:
    """Create a job and its first operation. The caller has checked the spec and the budget."""
    now = engine.now()
    engine.reach("upload.before-intent")
    with engine.store.write() as tx:
        present = tx.execute(
            sa.select(jobs.jobs.c.id).where(jobs.jobs.c.run_key == run_key)
        ).scalar()
        if present is not None:
            return jobs.get(tx, present)
        job = jobs.create(
            tx, plan=plan, backend=backend, dataset_id=dataset_id, run_key=run_key, at=now
        )
        operations.insert(
            tx, key=f"{job.id}.upload.1", kind="upload", backend=backend, at=now, job_id=job.id
        )
    engine.reach("upload.after-intent")
    return job


def cancel(engine: Engine, job_id: str) -> State:
    """Stop a job. What the provider has done by then is billed; what had succeeded is kept."""
    _require(engine, job_id, "cancel")
    return _wish(engine, job_id, Event.CANCEL, "cancel")


def pause(engine: Engine, job_id: str) -> State:
    """Pause training at the provider."""
    _require(engine, job_id, "pause")
    return _wish(engine, job_id, Event.PAUSE, "pause")


def resume(engine: Engine, job_id: str) -> State:
    """Go on with a paused job."""
    _require(engine, job_id, "pause")
    return _wish(engine, job_id, Event.RESUME, "resume")


def _require(engine: Engine, job_id: str, what: str) -> None:
    with engine.store.read() as tx:
        backend = jobs.get(tx, job_id).backend
    support = getattr(engine.backends.capabilities(backend), what)
    if not support.ok:
        raise ConfigError(f"{backend} cannot {what} a job: {support.reason}")


def _wish(engine: Engine, job_id: str, event: Event, wish: str) -> State:
    now = engine.now()
    with engine.store.write() as tx:
        job = jobs.get(tx, job_id)
        state = jobs.apply(
            tx, job.id, event, at=now, cause=f"{wish} was asked for", worker=engine.worker
        )
        for op in operations.of_job(tx, job.id):
            if op.status in operations.ACTIVE:
                _set(tx, op.key, wish=wish if op.kind == "train" else None, due_at=now)
    return state


def retry(engine: Engine, job_id: str, *, resubmit: bool = False) -> State:
    """Go on with a job that needs attention, at the stage where it stopped.

    Args:
        engine: the engine.
        job_id: the job.
        resubmit: a person has looked and the provider has no such job: submit it once more.
    """
    now = engine.now()
    with engine.store.write() as tx:
        job = jobs.get(tx, job_id)
        event = Event.RESUBMIT if resubmit else Event.RETRY
        state = jobs.apply(
            tx,
            job.id,
            event,
            at=now,
            cause="retried by a person",
            worker=engine.worker,
            problem=None,
        )
        for op in operations.of_job(tx, job.id):
            if op.status not in operations.ACTIVE:
                continue
            changes: dict[str, Any] = {"due_at": now, "failures": 0, "looks": 0}
            if resubmit and op.kind == "train":
                changes |= {"status": "intended", "handle": None}
            _set(tx, op.key, **changes)
    return state


def attach(engine: Engine, job_id: str, remote_id: str) -> State:
    """Say which of the provider's jobs belongs to a job whose submission is in doubt."""
    now = engine.now()
    handle = Handle(kind="job", id=remote_id)
    engine.backends.backend(_backend_of(engine, job_id)).poll(handle)
    with engine.store.write() as tx:
        job = jobs.get(tx, job_id)
        trains = [op for op in operations.of_job(tx, job.id) if op.kind == "train"]
        if not trains or trains[-1].status not in operations.ACTIVE:
            raise ConfigError(
                f"{job.id} is {job.state.value} and has no submission to attach {remote_id} to"
            )
        state = jobs.apply(
            tx,
            job.id,
            Event.ATTACH,
            at=now,
            cause=f"{remote_id} was attached by a person",
            worker=engine.worker,
            problem=None,
        )
        _set(
            tx,
            trains[-1].key,
            status="live",
            handle={"kind": handle.kind, "id": handle.id, "data": {}},
            due_at=now,
            failures=0,
        )
    return state


def _backend_of(engine: Engine, job_id: str) -> str:
    with engine.store.read() as tx:
        return jobs.get(tx, job_id).backend


def _set(tx: sa.Connection, key: str, **changes: Any) -> None:
    tx.execute(sa.update(table).where(table.c.key == key).values(**changes))
