"""``batch_run``: one operation a run. It admits shards, and publishes when all are settled."""

from __future__ import annotations

import sqlalchemy as sa

from understudy.backend import SupportsBatch
from understudy.batch import live, publishing
from understudy.batch.account import told
from understudy.batch.publishing import OpenCache
from understudy.batch.sinks import ASK
from understudy.engine import Engine, batch_shards, batch_uploads, batch_window, operations
from understudy.engine.batch_shards import OPEN, Run, RunState, Shard, ShardState
from understudy.engine.operations import Operation
from understudy.model import BatchLimits

__all__ = ["step"]

_LIVE = BatchLimits(requests=1, bytes=1, window=0.0)


def step(engine: Engine, op: Operation, *, open_cache: OpenCache) -> None:
    """Move the run one step on."""
    with engine.store.read() as tx:
        run = batch_shards.find_run(tx, op.payload["run"])
    assert run is not None
    if run.state is RunState.FINISHING:
        _finish(engine, op, run, open_cache)
    elif run.state.ended:
        with engine.store.write() as tx:
            operations.save(tx, op, at=engine.now(), status="done", due_at=None)
    else:
        _move(engine, op)


def _move(engine: Engine, op: Operation) -> None:
    """Admit what there is room for, or see that all is settled."""
    now = engine.now()
    with engine.store.write() as tx:
        # First: whoever moves a shard meanwhile waits, and wakes this operation after.
        operations.guard(tx, op)
        run = batch_shards.find_run(tx, op.payload["run"])
        assert run is not None
        if run.state is RunState.NEEDS_ATTENTION and run.purpose == ASK:
            # Its job's `retry` has woken this operation: a person has looked.
            cause = "its job was retried"
            run = batch_shards.move_run(
                tx, run, RunState.RUNNING, at=now, cause=cause, problem=None
            )
        shards = batch_shards.shards_of(tx, run.id)
        again_at: float | None = now + engine.timing.poll_longest
        if run.state is RunState.NEEDS_ATTENTION:
            again_at = None
        elif run.state is RunState.RUNNING:
            again_at = _admit(tx, engine, run, shards, now) or again_at
        if not any(shard.state in OPEN for shard in shards):
            _settled(tx, engine, run, now)
            again_at = now
        operations.save(tx, op, at=now, due_at=again_at, looks=op.looks + 1, failures=0)
    engine.reach("batch_run.moved")
    answered, total = told(shards)
    engine.notify(run.owner, f"answers {run.name}", answered, total)


def _admit(
    tx: sa.Connection, engine: Engine, run: Run, shards: list[Shard], now: float
) -> float | None:
    """Send what fits on its way; when to look again where something holds all back."""
    waiting = [shard for shard in shards if shard.state is ShardState.WAITING]
    if not waiting:
        return None
    # Those asked again first: they are few, and the run ends with the last of them.
    waiting.sort(key=lambda shard: (-shard.round, shard.number))
    room = batch_window.room(tx, run, _limits(engine, run), now=now)
    for shard in room.pick(waiting):
        if run.terms.via == "live":
            live.intend(tx, engine, run, shard)
        else:
            batch_uploads.intend(tx, engine, run, shard)
    return room.again_at


def _limits(engine: Engine, run: Run) -> BatchLimits:
    backend = engine.backends.backend(run.backend)
    if run.terms.via == "live" or not isinstance(backend, SupportsBatch):
        return _LIVE
    return backend.batch_limits(run.model)


def _settled(tx: sa.Connection, engine: Engine, run: Run, now: float) -> None:
    if run.state in {RunState.CANCELLING, RunState.CANCELLED}:
        cause = "nothing of it is out any more; what was answered is kept"
        to = RunState.CANCELLED
        batch_shards.move_run(tx, run, to, at=now, cause=cause, worker=engine.worker)
        if run.purpose == ASK:
            operations.advance(tx, run.plan["wakes"], due_at=now)
    elif run.state is RunState.RUNNING:
        cause = "every row is accounted for"
        to = RunState.FINISHING
        batch_shards.move_run(tx, run, to, at=now, cause=cause, worker=engine.worker)


def _finish(engine: Engine, op: Operation, run: Run, open_cache: OpenCache) -> None:
    if run.purpose == ASK:
        now = engine.now()
        with engine.store.write() as tx:
            operations.save(tx, op, at=now, status="done", due_at=None)
            batch_shards.move_run(tx, run, RunState.DONE, at=now, cause="all answers are in")
            operations.advance(tx, run.plan["wakes"], due_at=now)
        return
    publishing.finish(engine, op, run, open_cache())
