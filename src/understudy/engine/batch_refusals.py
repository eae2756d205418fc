"""What becomes of a shard when nothing of it was run; shared by upload and batch."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from understudy.backend import SupportsBatch
from understudy.engine import batch_money, batch_shards
from understudy.engine.batch_shards import RunState, Shard, ShardState
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.errors import AuthError, PluginError, TerminalError

__all__ = ["ask_once", "batcher", "cancelled", "refuse"]


def batcher(engine: Engine, name: str) -> SupportsBatch:
    """The backend of that name, which batches.

    Raises:
        PluginError: it does not.
    """
    backend = engine.backends.backend(name)
    if not isinstance(backend, SupportsBatch):
        reason = engine.backends.capabilities(name).batch.reason
        raise PluginError(f"{name} cannot answer by batch: {reason or 'its plugin has no batches'}")
    return backend


def refuse(tx: sa.Connection, engine: Engine, op: Operation, why: str, *, final: bool) -> None:
    """Nothing of the shard was run: it waits again, and after some tries for a person."""
    now = engine.now()
    run = batch_shards.find_run(tx, op.payload["run"])
    shard = batch_shards.get_shard(tx, op.payload["shard"])
    assert run is not None
    if op.kind == "batch":
        batch_money.release(tx, engine, run, op.key)
    if run.state in {RunState.CANCELLING, RunState.CANCELLED}:
        cancelled(tx, engine, shard)
        return
    batch_shards.put_back(tx, shard, why, at=now, counts=True)
    if final or shard.tries + 1 >= run.terms.attempts:
        told = f"batch of shard {shard.stem} was refused: {why}"
        batch_shards.attention(tx, run.id, told, at=now, worker=engine.worker)
    batch_shards.wake_driver(tx, run.id, at=now)


def cancelled(tx: sa.Connection, engine: Engine, shard: Shard) -> None:
    """Close a shard that is not wanted any more and that the provider never had."""
    now = engine.now()
    batch_shards.move_shard(tx, shard.id, ShardState.CANCELLED, at=now, operation=None)
    batch_shards.wake_driver(tx, shard.run_id, at=now)


def ask_once(cancel: Callable[[], None]) -> None:
    """Ask the provider to cancel; one that will not lets it run to its end."""
    try:
        cancel()
    except AuthError:
        raise
    except TerminalError:
        return  # then it runs to its end
