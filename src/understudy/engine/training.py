"""The training job: started once (see sending.py), watched together, its outcome stored first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from understudy.backend import (
    FindResult,
    SupportsCancel,
    SupportsFind,
    SupportsPause,
    SupportsPollMany,
)
from understudy.costs import ledger
from understudy.engine import jobs, operations, sending, surplus
from understudy.engine.backoff import poll_interval, tick
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.engine.surplus import training_cost
from understudy.engine.trouble import after_trouble, close, need_attention, never_give_up
from understudy.errors import AuthError, BackendError, NotFound, StaleRecord, TerminalError
from understudy.model import Handle, RemoteProblem, RemoteState, RemoteStatus
from understudy.secrets import redact
from understudy.states import TRANSITIONS, Event, State, next_state
from understudy.store import schema

__all__ = ["TrainStarter", "step", "watch"]

_EVENTS = {
    RemoteState.QUEUED: Event.REMOTE_QUEUED,
    RemoteState.RUNNING: Event.REMOTE_RUNNING,
    RemoteState.PAUSING: Event.REMOTE_PAUSING,
    RemoteState.PAUSED: Event.REMOTE_PAUSED,
    RemoteState.RESUMING: Event.REMOTE_RESUMING,
    RemoteState.CANCELLING: Event.REMOTE_CANCELLING,
    RemoteState.SUCCEEDED: Event.REMOTE_SUCCEEDED,
    RemoteState.FAILED: Event.REMOTE_FAILED,
    RemoteState.CANCELLED: Event.REMOTE_CANCELLED,
}
_DONE = {
    RemoteState.SUCCEEDED: "done",
    RemoteState.FAILED: "failed",
    RemoteState.CANCELLED: "cancelled",
}


class TrainStarter:
    """The training job's part of the sending protocol."""

    def send(self, engine: Engine, op: Operation) -> Handle:
        """One create."""
        assert op.job_id is not None
        with engine.store.read() as tx:
            spec = jobs.get(tx, op.job_id).plan.spec
        return engine.backends.backend(op.backend).create(
            spec, Handle(**op.payload["files"]), key=op.key
        )

    def find(self, engine: Engine, op: Operation) -> FindResult | None:
        """By key, or by the file that was uploaded for this intent alone."""
        backend = engine.backends.backend(op.backend)
        if not isinstance(backend, SupportsFind):
            return None
        files = op.payload.get("files")
        return backend.find(op.key, Handle(**files) if files else None)

    def started(self, tx: sa.Connection, engine: Engine, op: Operation, how: str) -> None:
        """Submitting -> queued; a job that is being cancelled stays so and is cancelled next."""
        assert op.job_id is not None
        jobs.apply(tx, op.job_id, Event.ATTACH, at=engine.now(), cause=how, worker=engine.worker)

    def refused(self, tx: sa.Connection, engine: Engine, op: Operation, why: BackendError) -> None:
        """The provider will never take this job."""
        assert op.job_id is not None
        cancelling = jobs.get(tx, op.job_id).state is State.CANCELLING
        event = Event.NEVER_STARTED if cancelling else Event.REFUSED
        message = redact(str(why))
        problem = {"message": message, "code": why.code, "stage": "submitting"}
        close(tx, engine, op, event, cause=message, problem=problem)

    def stuck(self, engine: Engine, op: Operation, why: str, **changes: Any) -> None:
        """To needs_attention."""
        need_attention(engine, op, why, **changes)

    def never_started(self, tx: sa.Connection, engine: Engine, op: Operation) -> bool:
        """Close a job that was cancelled before the provider had it."""
        assert op.job_id is not None
        if jobs.get(tx, op.job_id).state is not State.CANCELLING:
            return False
        close(tx, engine, op, Event.NEVER_STARTED, cause="cancelled before the provider had it")
        return True

    def surplus(self, engine: Engine, op: Operation, extra: Handle) -> None:
        """Cancel the second job, watch and book it, and say so in the history. Once each."""
        surplus.intend(engine, op, extra)


STARTER = TrainStarter()


def step(engine: Engine, op: Operation) -> None:
    """Start, recover, or look once more after a job that ended before it was time to."""
    if op.status == "intended":
        sending.start(engine, STARTER, op)
    elif op.status == "sending":
        sending.recover(engine, STARTER, op)
    else:
        never_give_up(engine, op, lambda engine, op: sending.confirm(engine, STARTER, op))


def watch(engine: Engine, ops: Sequence[Operation]) -> None:
    """Look at live jobs of one backend, in as few requests as it allows."""
    quiet = [op for op in ops if not _wants(engine, op)]
    for op in ops:
        if _wants(engine, op):
            _guarded(engine, op, _act)
    backend = engine.backends.backend(ops[0].backend)
    engine.reach("train.poll")
    if len(quiet) > 1 and isinstance(backend, SupportsPollMany):
        _watch_many(engine, backend, quiet)
    else:
        for op in quiet:
            _guarded(engine, op, _look)


def _wants(engine: Engine, op: Operation) -> bool:
    return op.wish is not None or (op.confirm_at is not None and op.confirm_at <= engine.now())


def _act(engine: Engine, op: Operation) -> None:
    if op.wish is not None:
        _grant(engine, op)
    else:
        sending.confirm(engine, STARTER, op)


def _guarded(engine: Engine, op: Operation, act: Any) -> None:
    try:
        act(engine, op)
    except StaleRecord:
        return
    except Exception as error:  # noqa: BLE001 - one job's trouble must not stop the others
        after_trouble(engine, op, error)


def _watch_many(engine: Engine, backend: SupportsPollMany, ops: Sequence[Operation]) -> None:
    try:
        statuses = backend.poll_many([op.handle for op in ops if op.handle is not None])
    except Exception as error:  # noqa: BLE001 - each job backs off by itself
        for op in ops:
            _guarded(engine, op, lambda engine, op, error=error: after_trouble(engine, op, error))
        return
    unchanged: list[tuple[Operation, float]] = []
    for op in ops:
        status = statuses.get(op.handle.id) if op.handle is not None else None
        if status is None:
            _guarded(engine, op, _look)
        elif _same(op, status):
            unchanged.append((op, _next_look(engine, op)))
        else:
            _guarded(engine, op, lambda engine, op, status=status: _take_in(engine, op, status))
    with engine.store.write() as tx:
        operations.reschedule_many(tx, unchanged, at=engine.now())


def _look(engine: Engine, op: Operation) -> None:
    assert op.handle is not None
    try:
        status = engine.backends.backend(op.backend).poll(op.handle)
    except NotFound as error:
        if op.job_state is not State.CANCELLING:
            raise
        # Nobody can cancel what the provider has lost: a person who wants it closed gets that.
        gone = RemoteProblem(message=str(error))
        status = RemoteStatus(state=RemoteState.CANCELLED, raw="not found", problem=gone)
    _take_in(engine, op, status)


def _same(op: Operation, status: RemoteStatus) -> bool:
    if status.raw != op.last_raw or status.state.terminal or op.failures:
        return False
    event = _EVENTS.get(status.state)
    if event is None or op.job_state is None:
        return event is None
    return next_state(op.job_state, event) is op.job_state


def _next_look(engine: Engine, op: Operation) -> float:
    timing = engine.timing
    interval = poll_interval(op.looks, shortest=timing.poll_shortest, longest=timing.poll_longest)
    return tick(engine.now(), interval)


def _grant(engine: Engine, op: Operation) -> None:
    """Pass a person's wish on to the provider, once."""
    assert op.handle is not None
    backend = engine.backends.backend(op.backend)
    refused = ""
    try:
        if op.wish == "cancel" and isinstance(backend, SupportsCancel):
            backend.cancel(op.handle)
        elif op.wish == "pause" and isinstance(backend, SupportsPause):
            backend.pause(op.handle)
        elif op.wish == "resume" and isinstance(backend, SupportsPause):
            backend.resume(op.handle)
        else:
            refused = f"{op.backend} cannot {op.wish} a job"
    except NotFound:
        pass  # the next look decides what becomes of a job that is not there
    except AuthError:
        raise  # says nothing about the wish, which stays until the key is good again
    except TerminalError as error:
        refused = str(error)
    now = engine.now()
    wish = schema.operations.c.wish
    with engine.store.write() as tx:
        # Another wish may have been made meanwhile: it stands, and this one is of no account.
        left = sa.case((wish == op.wish, sa.null()), else_=wish)
        operations.save(tx, op, at=now, wish=left, due_at=now, looks=0, failures=0)
        if refused and operations.get(tx, op.key).wish is None:
            _refuse(tx, engine, op, refused)


def _refuse(tx: sa.Connection, engine: Engine, op: Operation, why: str) -> None:
    assert op.job_id is not None
    now, cause = engine.now(), f"{op.wish} refused: {why}"
    if (jobs.get(tx, op.job_id).state, Event.WISH_REFUSED) in TRANSITIONS:
        jobs.apply(tx, op.job_id, Event.WISH_REFUSED, at=now, cause=cause, worker=engine.worker)
    else:
        name = Event.WISH_REFUSED.value
        jobs.note(tx, op.job_id, name, at=now, cause=cause, worker=engine.worker)


def _take_in(engine: Engine, op: Operation, status: RemoteStatus) -> None:
    if status.state.terminal:
        _outcome(engine, op, status)
        return
    assert op.job_id is not None
    now = engine.now()
    event = _EVENTS.get(status.state)
    with engine.store.write() as tx:
        changed = status.raw != op.last_raw
        operations.save(
            tx,
            op,
            at=now,
            due_at=operations.unless_wished(_next_look(engine, op), now),
            looks=0 if changed else op.looks + 1,
            failures=0,
            last_raw=status.raw,
            last_error=None,
        )
        state = jobs.get(tx, op.job_id).state
        if event is None:
            if changed:
                jobs.note(
                    tx,
                    op.job_id,
                    "unknown_status",
                    at=now,
                    cause=f"{op.backend} says {status.raw!r}, which this version does not know; "
                    "polling goes on",
                    fields=status.fields,
                    worker=engine.worker,
                )
        elif next_state(state, event) is not state:
            _apply(tx, engine, op, event, status)


def _apply(
    tx: sa.Connection, engine: Engine, op: Operation, event: Event, status: RemoteStatus
) -> None:
    assert op.job_id is not None
    why = status.problem.message if status.problem else f"the provider says {status.raw!r}"
    changes: dict[str, Any] = {}
    if status.problem and event is Event.REMOTE_FAILED:
        changes["problem"] = {
            "message": redact(status.problem.message),
            "code": status.problem.code,
            "param": status.problem.param,
            "stage": "training",
        }
    jobs.apply(
        tx,
        op.job_id,
        event,
        at=engine.now(),
        cause=why,
        fields=status.fields,
        worker=engine.worker,
        **changes,
    )


def _outcome(engine: Engine, op: Operation, status: RemoteStatus) -> None:
    """Store what the provider said, and what it cost, before anything else happens."""
    assert op.job_id is not None
    assert op.handle is not None
    engine.reach("train.before-outcome")
    now = engine.now()
    with engine.store.write() as tx:
        job = jobs.get(tx, op.job_id)
        operations.save(
            tx, op, at=now, status=_DONE[status.state], due_at=op.confirm_at, last_raw=status.raw
        )
        cost = training_cost(engine, op.backend, job.plan, status)
        known = status.trained_tokens is not None
        note = f"{status.trained_tokens} tokens" if known else "the provider gave no token count"
        ledger.spend(tx, operation=op.key, kind="train", nanos=cost, note=note)
        ledger.settle(tx, operation=op.key, kind="train", at=now)
        _apply(tx, engine, op, _EVENTS[status.state], status)
        if status.state is RemoteState.SUCCEEDED:
            handle = op.handle
            operations.insert(
                tx,
                key=f"{op.job_id}.register.1",
                kind="register",
                backend=op.backend,
                at=now,
                job_id=op.job_id,
                payload={
                    "handle": {"kind": handle.kind, "id": handle.id, "data": dict(handle.data)}
                },
            )
        else:
            ledger.settle(tx, operation=f"{op.job_id}.evaluate.1", kind="evaluate", at=now)
    engine.reach("train.after-outcome")
