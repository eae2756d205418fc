"""What a person may ask of a job: cancel, pause, resume, retry, attach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from understudy.costs import ledger
from understudy.engine import jobs, operations
from understudy.engine.context import Engine
from understudy.engine.jobs import JobRecord, Plan
from understudy.errors import ConfigError, NotFound
from understudy.model import Handle
from understudy.recipe import Deployment
from understudy.states import TERMINAL, Event, State
from understudy.store import schema

__all__ = ["attach", "cancel", "change_deployment", "pause", "resume", "retry", "submit"]

_TRAINED = frozenset({State.REGISTERING, State.EVALUATING})


def submit(
    engine: Engine, *, plan: Plan, backend: str, dataset_id: str, run_key: str, train_key: str
) -> JobRecord:
    """Create a job and its first operation. The caller has checked the spec and the budget.

    Where an earlier job trained the same thing (``train_key``), its model is taken over and only
    registration and evaluation are left to do.

    Raises:
        ConfigError: another job is training the same thing at this moment.
    """
    now = engine.now()
    engine.reach("upload.before-intent")
    with engine.store.write() as tx:
        if engine.store.postgres:
            # Two that begin the same training at once: the second must see the first.
            tx.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(train_key))))
        same = sa.select(schema.jobs.c.id).where(schema.jobs.c.run_key == run_key)
        present = tx.execute(same).scalar()
        if present is not None:
            return jobs.get(tx, present)
        earlier = jobs.trained_alike(tx, train_key)
        job = jobs.create(
            tx,
            plan=plan,
            backend=backend,
            dataset_id=dataset_id,
            run_key=run_key,
            train_key=train_key,
            at=now,
        )
        trained = _trained(earlier)
        if trained is None:
            operations.insert(
                tx, key=f"{job.id}.upload.1", kind="upload", backend=backend, at=now, job_id=job.id
            )
        else:
            _take_over(tx, engine, job, trained)
        job = jobs.get(tx, job.id)
    engine.reach("upload.after-intent")
    return job


def _trained(earlier: Sequence[JobRecord]) -> JobRecord | None:
    """The earlier job whose model can be used; a live one that has none yet is an error."""
    for job in earlier:
        if job.model_id is not None:
            return job
        if job.state not in TERMINAL:
            raise ConfigError(
                f"{job.id} is training the same thing and is {job.state.value}; wait for it "
                f"(`understudy jobs watch {job.id}`), or cancel it first"
            )
    return None


def _take_over(tx: sa.Connection, engine: Engine, job: JobRecord, trained: JobRecord) -> None:
    now = engine.now()
    for event in (Event.UPLOAD, Event.UPLOADED, Event.ATTACH, Event.REMOTE_SUCCEEDED):
        jobs.apply(tx, job.id, event, at=now, cause=f"{trained.id} trained the same thing already")
    ledger.reserve(
        tx,
        budget=job.budget,
        operation=f"{job.id}.evaluate.1",
        job_id=job.id,
        kind="evaluate",
        nanos=job.plan.evaluate_at_most,
        at=now,
    )
    register = next(op for op in operations.of_job(tx, trained.id) if op.kind == "register")
    payload = {"source": register.key, **register.payload}
    if trained.plan.export != job.plan.export:
        del payload["source"]  # other files are another model version
    operations.insert(
        tx,
        key=f"{job.id}.register.1",
        kind="register",
        backend=job.backend,
        at=now,
        job_id=job.id,
        payload=payload,
    )


def cancel(engine: Engine, job_id: str) -> State:
    """Stop a job. What the provider has done by then is billed; what had succeeded is kept."""
    if _submitted(engine, job_id):
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


def _submitted(engine: Engine, job_id: str) -> bool:
    with engine.store.read() as tx:
        return any(op.kind == "train" for op in operations.of_job(tx, jobs.get(tx, job_id).id))


def _require(engine: Engine, job_id: str, what: str) -> None:
    with engine.store.read() as tx:
        backend = jobs.get(tx, job_id).backend
    support = getattr(engine.backends.capabilities(backend), what)
    if not support.ok:
        raise ConfigError(f"{backend} cannot {what} a job: {support.reason}")


def _wish(engine: Engine, job_id: str, event: Event, wish: str) -> State:
    now = engine.now()
    with engine.store.write() as tx:
        job = _locked(tx, job_id)
        left = next((one for one in (job.state, job.stage) if one in _TRAINED), None)
        if event is Event.CANCEL and left is not None:
            retry = f"`understudy jobs retry {job.id}` goes on with it"
            raise ConfigError(
                f"{job.id} has its model already, so there is nothing left to cancel; "
                f"{left.value} is next: {'it goes on by itself' if job.stage is None else retry}"
            )
        state = jobs.apply(
            tx, job.id, event, at=now, cause=f"{wish} was asked for", worker=engine.worker
        )
        for op in operations.of_job(tx, job.id):
            if op.status in operations.ACTIVE and op.kind not in operations.APART:
                _set(tx, op.key, wish=wish if op.kind == "train" else None, due_at=now)
    return state


def _locked(tx: sa.Connection, job_id: str) -> JobRecord:
    job = jobs.get(tx, job_id)
    operations.lock_job(tx, job.id)
    return jobs.get(tx, job.id)


def retry(engine: Engine, job_id: str, *, resubmit: bool = False) -> State:
    """Go on with a job that needs attention, at the stage where it stopped.

    Args:
        engine: the engine.
        job_id: the job.
        resubmit: a person has looked and the provider has no such job: submit it once more.
    """
    now = engine.now()
    if resubmit:
        _require_doubt(engine, job_id)
    with engine.store.write() as tx:
        job = _locked(tx, job_id)
        active = [op for op in operations.of_job(tx, job.id) if op.status in operations.ACTIVE]
        # One that is being cancelled is not submitted again: it is closed.
        event = Event.RESUBMIT if resubmit and job.stage is not State.CANCELLING else Event.RETRY
        state = jobs.apply(
            tx,
            job.id,
            event,
            at=now,
            cause="retried by a person",
            worker=engine.worker,
            problem=None,
        )
        for op in active:
            if op.kind in operations.APART:
                continue
            changes: dict[str, Any] = {"due_at": now, "failures": 0, "looks": 0}
            if resubmit and op.kind == "train":
                changes |= {"status": "intended", "handle": None, "wish": None}
            _set(tx, op.key, **changes)
    return state


def _require_doubt(engine: Engine, job_id: str) -> None:
    """Raise unless the job's submission is in doubt, or the provider has it no more."""
    with engine.store.read() as tx:
        job = jobs.get(tx, job_id)
        present = operations.of_job(tx, job.id)
    op = next((o for o in present if o.kind == "train" and o.status in operations.ACTIVE), None)
    plain = f"use `understudy jobs retry {job.id}`"
    if op is None:
        raise ConfigError(
            f"{job.id} has no submission in doubt, so there is nothing to submit once more; {plain}"
        )
    if op.handle is None:
        return
    try:
        status = engine.backends.backend(op.backend).poll(op.handle)
    except NotFound:
        return
    raise ConfigError(
        f"{job.id} was submitted: {op.backend} has {op.handle.id}, and it is {status.raw!r}; "
        f"a second one would be paid for too, so {plain}"
    )


def attach(engine: Engine, job_id: str, remote_id: str) -> State:
    """Say which of the provider's jobs belongs to a job whose submission is in doubt."""
    now = engine.now()
    handle = Handle(kind="job", id=remote_id)
    engine.backends.backend(_backend_of(engine, job_id)).poll(handle)
    with engine.store.write() as tx:
        job = _locked(tx, job_id)
        trains = [op for op in operations.of_job(tx, job.id) if op.kind == "train"]
        if not trains or trains[-1].status not in operations.ACTIVE:
            raise ConfigError(
                f"{job.id} is {job.state.value} and has no submission to attach {remote_id} to"
            )
        _require_free(tx, job, trains[-1], remote_id)
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
            # Whoever may be submitting it at this moment must not write any more.
            fence=schema.operations.c.fence + 1,
            lease_owner=None,
            lease_until=None,
        )
    return state


def _require_free(
    tx: sa.Connection, job: JobRecord, op: operations.Operation, remote_id: str
) -> None:
    if op.handle is not None and op.handle.id != remote_id:
        raise ConfigError(
            f"{job.id} has {op.handle.id} at {op.backend} already, which would run on unwatched; "
            f"use `understudy jobs retry {job.id}`"
        )
    owner = operations.owner(tx, op.backend, remote_id)
    if owner not in {None, job.id}:
        raise ConfigError(f"{remote_id} belongs to {owner} already")


def change_deployment(engine: Engine, job_id: str, wish: Deployment) -> None:
    """Take another sku or capacity, or other hours, for the deployments that the job makes yet."""
    with engine.store.write() as tx:
        job = _locked(tx, job_id)
        if job.state in TERMINAL or job.plan.deployment == wish:
            return
        plan = {**_plan_json(tx, job.id), "deployment": wish.model_dump(mode="json")}
        mine = schema.jobs.c.id == job.id
        tx.execute(sa.update(schema.jobs).where(mine).values(plan=plan))


def _plan_json(tx: sa.Connection, job_id: str) -> dict[str, Any]:
    query = sa.select(schema.jobs.c.plan).where(schema.jobs.c.id == job_id).with_for_update()
    return dict(tx.execute(query).scalar_one())


def _backend_of(engine: Engine, job_id: str) -> str:
    with engine.store.read() as tx:
        return jobs.get(tx, job_id).backend


def _set(tx: sa.Connection, key: str, **changes: Any) -> None:
    tx.execute(sa.update(schema.operations).where(schema.operations.c.key == key).values(**changes))
