"""One batch: started once (see sending.py), watched, its end stored before anything is fetched.

``batch_upload`` (batch_uploads.py) sends the shard's file and stores the intent to start with its
reservation; ``batch`` is here; ``batch_collect`` fetches what came back: it is in the ``batch``
package, which knows where answers belong.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from understudy.backend import FindResult, SupportsBatch
from understudy.engine import (
    batch_money,
    batch_shards,
    batch_surplus,
    batch_window,
    operations,
    sending,
)
from understudy.engine.backoff import poll_interval
from understudy.engine.batch_refusals import ask_once, batcher, cancelled, refuse
from understudy.engine.batch_shards import RunState, ShardState
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.engine.trouble import need_attention, never_give_up
from understudy.errors import BackendError, NotEligible, Retired
from understudy.model import BatchSpec, BatchStatus, Handle, Json, RemoteState

__all__ = ["BatchStarter", "step"]


class BatchStarter:
    """The batch's part of the sending protocol."""

    def send(self, engine: Engine, op: Operation) -> Handle:
        """One create."""
        spec = BatchSpec(**op.payload["spec"])
        files = Handle(**op.payload["files"])
        return batcher(engine, op.backend).start_batch(spec, files, key=op.key)

    def find(self, engine: Engine, op: Operation) -> FindResult | None:
        """By key, or by the file that was uploaded for this intent alone."""
        return batcher(engine, op.backend).find_batch(op.key, Handle(**op.payload["files"]))

    def started(self, tx: sa.Connection, engine: Engine, op: Operation, how: str) -> None:  # noqa: ARG002
        """Submitting -> running."""
        now = engine.now()
        batch_shards.move_shard(tx, op.payload["shard"], ShardState.RUNNING, at=now, started_at=now)

    def refused(self, tx: sa.Connection, engine: Engine, op: Operation, why: BackendError) -> None:
        """Back into the queue; what the account may not do at all is for a person."""
        refuse(tx, engine, op, str(why), final=isinstance(why, NotEligible | Retired))

    def stuck(self, engine: Engine, op: Operation, why: str, **changes: Any) -> None:
        """To needs_attention."""
        need_attention(engine, op, why, **changes)

    def never_started(self, tx: sa.Connection, engine: Engine, op: Operation) -> bool:
        """Close a shard whose run was cancelled before the provider had it."""
        run = batch_shards.find_run(tx, op.payload["run"])
        assert run is not None
        if run.state not in {RunState.CANCELLING, RunState.CANCELLED}:
            return False
        batch_money.release(tx, engine, run, op.key)
        cancelled(tx, engine, batch_shards.get_shard(tx, op.payload["shard"]))
        return True

    def surplus(self, engine: Engine, op: Operation, extra: Handle) -> None:
        """Cancel the second batch, watch it until it ended, and book it. Once each."""
        batch_surplus.intend(engine, op, extra)


STARTER = BatchStarter()


def step(engine: Engine, op: Operation) -> None:
    """Start, recover, look, or look once more for a second batch under the same key."""
    if op.status == "intended":
        sending.start(engine, STARTER, op)
    elif op.status == "sending":
        sending.recover(engine, STARTER, op)
    elif op.status == "live" and (op.confirm_at is None or op.confirm_at > engine.now()):
        _look(engine, op)
    else:
        _confirm(engine, op)


def _confirm(engine: Engine, op: Operation) -> None:
    def act(engine: Engine, op: Operation) -> None:
        sending.confirm(engine, STARTER, op)

    if op.status == "live":
        act(engine, op)
    else:
        never_give_up(engine, op, act)


def _look(engine: Engine, op: Operation) -> None:
    assert op.handle is not None
    backend = batcher(engine, op.backend)
    wish = op.wish or _cancel_if_asked(engine, op, backend)
    status = backend.poll_batch(op.handle)
    engine.reach("batch.poll")
    if not status.state.terminal:
        now = engine.now()
        timing = engine.timing
        wait = poll_interval(op.looks, shortest=timing.poll_shortest, longest=timing.poll_longest)
        with engine.store.write() as tx:
            operations.save(
                tx,
                op,
                at=now,
                due_at=now + wait,
                looks=op.looks + 1,
                failures=0,
                wish=wish,
                last_raw=status.raw,
            )
    elif status.state is RemoteState.FAILED:
        _failed(engine, op, status)
    else:
        _ended(engine, op, status)


def _cancel_if_asked(engine: Engine, op: Operation, backend: SupportsBatch) -> str | None:
    """Pass the run's cancellation on, once; what was passed on is kept as the wish."""
    handle = op.handle
    assert handle is not None
    with engine.store.read() as tx:
        run = batch_shards.find_run(tx, op.payload["run"])
    if run is None or run.state is not RunState.CANCELLING:
        return None
    ask_once(lambda: backend.cancel_batch(handle))
    return "cancel"


def _failed(engine: Engine, op: Operation, status: BatchStatus) -> None:
    """Nothing was run: over the quota it only waits, otherwise the tries are counted."""
    now = engine.now()
    why = status.problem.message if status.problem else f"the batch is {status.raw!r}"
    with engine.store.write() as tx:
        operations.save(
            tx,
            op,
            at=now,
            status="failed",
            due_at=op.confirm_at,
            last_raw=status.raw,
            last_error=why,
        )
        if not status.over_quota:
            refuse(tx, engine, op, why, final=False)
            return
        run = batch_shards.find_run(tx, op.payload["run"])
        shard = batch_shards.get_shard(tx, op.payload["shard"])
        assert run is not None
        batch_money.release(tx, engine, run, op.key)
        batch_window.shrink(tx, run, shard, now=now)
        if run.state is RunState.CANCELLING:
            cancelled(tx, engine, shard)
            return
        batch_shards.put_back(tx, shard, why, at=now, counts=False)
        batch_shards.wake_driver(tx, run.id, at=now)


def _ended(engine: Engine, op: Operation, status: BatchStatus) -> None:
    """The provider's word is stored, with the intent to fetch what there is."""
    assert op.handle is not None
    engine.reach("batch.before-outcome")
    now = engine.now()
    key = op.key.replace(".batch.", ".collect.")
    shard = op.payload["shard"]
    payload = {
        "run": op.payload["run"],
        "shard": shard,
        "batch": op.key,
        "handle": {"kind": op.handle.kind, "id": op.handle.id, "data": dict(op.handle.data)},
        "said": _said(status),
    }
    done: dict[str, Any] = {"status": "done", "due_at": op.confirm_at, "failures": 0}
    with engine.store.write() as tx:
        operations.save(tx, op, at=now, last_raw=status.raw, **done)
        operations.insert(
            tx,
            key=key,
            kind="batch_collect",
            backend=op.backend,
            at=now,
            job_id=op.job_id,
            payload=payload,
        )
        to = ShardState.COLLECTING
        batch_shards.move_shard(tx, shard, to, at=now, operation=key, remote_id=op.handle.id)
        _taken(tx, engine, op, now)
    engine.reach("batch.after-outcome")


def _said(status: BatchStatus) -> dict[str, Json]:
    """What the provider told of a batch's end; its counts may be wrong."""
    return {
        "raw": status.raw,
        "completed": status.completed,
        "failed": status.failed,
        "usage": None if status.usage is None else asdict(status.usage),
    }


def _taken(tx: sa.Connection, engine: Engine, op: Operation, now: float) -> None:
    run = batch_shards.find_run(tx, op.payload["run"])
    shard = batch_shards.get_shard(tx, op.payload["shard"])
    assert run is not None
    limits = batcher(engine, op.backend).batch_limits(run.model)
    batch_window.grow(tx, run, shard, limits.enqueued_tokens, now=now)
    batch_shards.wake_driver(tx, run.id, at=now)
