"""The upload: unpaid, for this intent alone, and repeated freely until the provider has it."""

from __future__ import annotations

from understudy.costs import ledger
from understudy.engine import jobs, operations
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.engine.trouble import close, need_attention
from understudy.errors import BudgetExceeded, InvalidData, NotEligible, Retired
from understudy.model import UploadFailed, UploadPending
from understudy.secrets import redact
from understudy.states import Event, State

__all__ = ["step"]


def step(engine: Engine, op: Operation) -> None:
    """Send the files, or look whether the provider has taken them in."""
    if op.job_state is State.CANCELLING:
        _withdraw(engine, op)
    elif op.status == "live":
        _look(engine, op)
    else:
        _send(engine, op)


def _withdraw(engine: Engine, op: Operation) -> None:
    with engine.store.write() as tx:
        operations.save(tx, op, at=engine.now(), status="cancelled", due_at=None)
        close(tx, engine, op, Event.NEVER_STARTED, cause="cancelled before it was submitted")


def _send(engine: Engine, op: Operation) -> None:
    assert op.job_id is not None
    now = engine.now()
    with engine.store.write() as tx:
        job = jobs.get(tx, op.job_id)
        if job.state is State.CREATED:
            jobs.apply(
                tx, op.job_id, Event.UPLOAD, at=now, cause="upload begins", worker=engine.worker
            )
        operations.save(
            tx,
            op,
            at=now,
            status="sending",
            attempt=op.attempt + 1,
            lease_until=now + engine.timing.lease,
        )
    spec = job.plan.spec
    size = spec.training.bytes + (spec.validation.bytes if spec.validation else 0)
    engine.notify(op.job_id, "upload", 0, size)
    engine.reach("upload.before-send")
    try:
        handle = engine.backends.backend(op.backend).upload(spec, key=op.key)
    except (InvalidData, NotEligible, Retired) as error:
        _refused(engine, op, str(error))
        return
    engine.reach("upload.after-reply")
    engine.notify(op.job_id, "upload", size, size)
    now = engine.now()
    with engine.store.write() as tx:
        operations.save(tx, op, at=now, status="live", handle=handle, due_at=now, failures=0)
    engine.reach("upload.stored")


def _refused(engine: Engine, op: Operation, why: str) -> None:
    why = redact(why)
    with engine.store.write() as tx:
        operations.save(tx, op, at=engine.now(), status="failed", due_at=None, last_error=why)
        event = Event.REFUSED
        if op.job_id and jobs.get(tx, op.job_id).state is State.CANCELLING:
            event = Event.NEVER_STARTED
        close(tx, engine, op, event, cause=why, problem={"message": why, "stage": "uploading"})


def _look(engine: Engine, op: Operation) -> None:
    assert op.handle is not None
    engine.reach("upload.poll")
    status = engine.backends.backend(op.backend).poll_upload(op.handle)
    if isinstance(status, UploadFailed):
        _refused(engine, op, status.message)
    elif isinstance(status, UploadPending):
        now = engine.now()
        pause = status.retry_after or engine.timing.poll_shortest
        with engine.store.write() as tx:
            operations.save(tx, op, at=now, due_at=now + pause, looks=op.looks + 1)
    else:
        try:
            _intend_training(engine, op)
        except BudgetExceeded as error:
            _no_money(engine, op, error)


def _intend_training(engine: Engine, op: Operation) -> None:
    """One transaction: the reservation, the intent to train, and the job's step to submitting."""
    assert op.job_id is not None
    assert op.handle is not None
    engine.reach("train.before-intent")
    now = engine.now()
    with engine.store.write() as tx:
        job = jobs.get(tx, op.job_id)
        operations.save(tx, op, at=now, status="done", due_at=None)
        if job.state is State.CANCELLING:
            close(tx, engine, op, Event.NEVER_STARTED, cause="cancelled before it was submitted")
            return
        plan = job.plan
        reservations = (("train", plan.train_at_most), ("evaluate", plan.evaluate_at_most))
        for kind, nanos in reservations:
            ledger.reserve(
                tx,
                budget=plan.budget,
                operation=f"{op.job_id}.{kind}.1",
                job_id=op.job_id,
                kind=kind,
                nanos=nanos,
                at=now,
            )
        handle = op.handle
        operations.insert(
            tx,
            key=f"{op.job_id}.train.1",
            kind="train",
            backend=op.backend,
            at=now,
            job_id=op.job_id,
            payload={"files": {"kind": handle.kind, "id": handle.id, "data": dict(handle.data)}},
        )
        jobs.apply(
            tx, op.job_id, Event.UPLOADED, at=now, cause="files are ready", worker=engine.worker
        )
    engine.reach("train.after-intent")


def _no_money(engine: Engine, op: Operation, error: BudgetExceeded) -> None:
    assert op.job_id is not None
    with engine.store.read() as tx:
        policy = jobs.get(tx, op.job_id).plan.on_exhausted
    if policy != "cancel":
        need_attention(engine, op, str(error))
        return
    now = engine.now()
    with engine.store.write() as tx:
        operations.save(tx, op, at=now, status="cancelled", due_at=None, last_error=str(error))
        jobs.apply(tx, op.job_id, Event.CANCEL, at=now, cause=str(error), worker=engine.worker)
        close(tx, engine, op, Event.NEVER_STARTED, cause="the budget is used up")
