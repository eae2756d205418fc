"""A second batch under one key: cancelled, watched until it has ended, and booked."""

from __future__ import annotations

from understudy.engine import batch_money, batch_shards, operations
from understudy.engine.backoff import poll_interval
from understudy.engine.batch_refusals import ask_once, batcher
from understudy.engine.batch_shards import Run, Shard
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.engine.trouble import never_give_up
from understudy.model import BatchStatus, Handle, Usage

__all__ = ["intend", "step"]


def intend(engine: Engine, op: Operation, extra: Handle) -> None:
    """Record that ``extra`` is to be cancelled. Again changes nothing."""
    now = engine.now()
    key = f"{op.key}.surplus.{extra.id}"
    handle = {"kind": extra.kind, "id": extra.id, "data": dict(extra.data)}
    with engine.store.write() as tx:
        if operations.exists(tx, key):
            return
        payload = {"run": op.payload["run"], "shard": op.payload["shard"]}
        operations.insert(
            tx,
            key=key,
            kind="batch_surplus",
            backend=op.backend,
            at=now,
            job_id=op.job_id,
            payload={**payload, "handle": handle, "batch": op.key},
        )


def step(engine: Engine, op: Operation) -> None:
    """Cancel it, look at it until it has ended, and book what it cost."""
    never_give_up(engine, op, _end)


def _end(engine: Engine, op: Operation) -> None:
    backend = batcher(engine, op.backend)
    handle = Handle(**op.payload["handle"])
    if op.looks == 0:
        ask_once(lambda: backend.cancel_batch(handle))
    status = backend.poll_batch(handle)
    run, shard = batch_shards.of_operation(engine, op)
    now = engine.now()
    with engine.store.write() as tx:
        if not status.state.terminal:
            timing = engine.timing
            pause = poll_interval(
                op.looks, shortest=timing.poll_shortest, longest=timing.poll_longest
            )
            operations.save(tx, op, at=now, due_at=now + pause, looks=op.looks + 1, failures=0)
            return
        operations.save(tx, op, at=now, status="done", due_at=None, last_raw=status.raw)
        usage = status.usage or _most(run, shard, status)
        nanos = batch_money.cost_nanos(engine, run, usage)
        batch_money.add(tx, run, op.payload["batch"], nanos, note=f"with surplus {handle.id}")


def _most(run: Run, shard: Shard, status: BatchStatus) -> Usage:
    """What a batch used at most that says only how many rows it completed."""
    done = min(status.completed or 0, shard.requests)
    share = -(-shard.tokens * done // max(shard.requests, 1))
    return Usage(input=share, output=done * run.terms.max_output_tokens)
