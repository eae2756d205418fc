"""The upload of a shard: unpaid, for this intent alone, repeated until the provider has it."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from understudy.engine import batch_money, batch_shards, operations
from understudy.engine.batch_files import RowForm, write_upload
from understudy.engine.batch_refusals import batcher, cancelled, refuse
from understudy.engine.batch_shards import Run, RunState, Shard, ShardState
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.errors import BudgetExceeded, InvalidData, NotEligible, Retired
from understudy.model import BatchSpec, UploadFailed, UploadPending
from understudy.store.schema import operations as table

__all__ = ["FORM", "intend", "next_number", "remove_upload", "step"]

FORM = "form.json"
"""Name of the file in a run's folder that holds its ``RowForm``."""


def intend(tx: sa.Connection, engine: Engine, run: Run, shard: Shard) -> None:
    """Admit a shard: from here on it counts as enqueued."""
    now = engine.now()
    number = next_number(tx, shard, "upload")
    key = f"{shard.id}.upload.{number}"
    operations.insert(
        tx,
        key=key,
        kind="batch_upload",
        backend=run.backend,
        at=now,
        job_id=run.owner,
        payload={"run": run.id, "shard": shard.id, "number": number},
    )
    batch_shards.move_shard(tx, shard.id, ShardState.UPLOADING, at=now, operation=key)


def next_number(tx: sa.Connection, shard: Shard, kind: str) -> int:
    """Number of the shard's next operation of ``kind`` (``upload``, ``live``), from 1."""
    mine = table.c.key.startswith(f"{shard.id}.{kind}.", autoescape=True)
    return tx.execute(sa.select(sa.func.count()).where(mine)).scalar_one() + 1


def step(engine: Engine, op: Operation) -> None:
    """Send the file, or look whether the provider has taken it in."""
    run, shard = batch_shards.of_operation(engine, op)
    if run.state in {RunState.CANCELLING, RunState.CANCELLED}:
        with engine.store.write() as tx:
            operations.save(tx, op, at=engine.now(), status="cancelled", due_at=None)
            cancelled(tx, engine, shard)
    elif op.status == "live":
        _look(engine, op, run, shard)
    else:
        _send(engine, op, run, shard)


def _send(engine: Engine, op: Operation, run: Run, shard: Shard) -> None:
    now = engine.now()
    with engine.store.write() as tx:
        until = now + engine.timing.lease
        operations.save(tx, op, at=now, status="sending", attempt=op.attempt + 1, lease_until=until)
    spec = _spec(engine, op, run, shard)
    engine.reach("batch_upload.before-send")
    try:
        handle = batcher(engine, op.backend).upload_batch(spec, key=op.key)
    except (InvalidData, NotEligible, Retired) as error:
        _not_taken(engine, op, str(error), final=not isinstance(error, InvalidData))
        return
    engine.reach("batch_upload.after-reply")
    payload = {**op.payload, "spec": asdict(spec)}
    with engine.store.write() as tx:
        operations.save(
            tx,
            op,
            at=engine.now(),
            status="live",
            handle=handle,
            payload=payload,
            due_at=engine.now(),
            failures=0,
        )
    engine.reach("batch_upload.stored")


def _spec(engine: Engine, op: Operation, run: Run, shard: Shard) -> BatchSpec:
    folder = batch_shards.folder(engine, run)
    form = RowForm.read(folder / FORM)
    # By operation: a worker that lost its lease may still be writing its own.
    target = folder / f"{shard.stem}.{op.payload['number']}.{op.fence}.jsonl"
    made = write_upload(folder / f"{shard.stem}.rows", form, target)
    return BatchSpec(
        model=run.model,
        path=str(target),
        sha256=made.sha256,
        requests=made.requests,
        bytes=made.bytes,
        tokens=made.tokens,
        metadata={"understudy_run": run.id, "understudy_shard": shard.id},
    )


def _look(engine: Engine, op: Operation, run: Run, shard: Shard) -> None:
    assert op.handle is not None
    engine.reach("batch_upload.poll")
    status = batcher(engine, op.backend).poll_batch_upload(op.handle)
    if isinstance(status, UploadFailed):
        _not_taken(engine, op, status.message, final=False)
    elif isinstance(status, UploadPending):
        now = engine.now()
        pause = status.retry_after or engine.timing.poll_shortest
        with engine.store.write() as tx:
            operations.save(tx, op, at=now, due_at=now + pause, looks=op.looks + 1, failures=0)
    else:
        try:
            _intend_batch(engine, op, run, shard)
        except BudgetExceeded as error:
            _no_money(engine, op, run, shard, error)
        remove_upload(engine, run, shard)


def _intend_batch(engine: Engine, op: Operation, run: Run, shard: Shard) -> None:
    """One transaction: the reservation, the intent to start the batch, the shard's step."""
    assert op.handle is not None
    engine.reach("batch.before-intent")
    now = engine.now()
    key = f"{shard.id}.batch.{op.payload['number']}"
    with engine.store.write() as tx:
        operations.save(tx, op, at=now, status="done", due_at=None)
        batch_money.reserve(tx, engine, run, shard, key)
        files = {"kind": op.handle.kind, "id": op.handle.id, "data": dict(op.handle.data)}
        operations.insert(
            tx,
            key=key,
            kind="batch",
            backend=op.backend,
            at=now,
            job_id=op.job_id,
            payload={**op.payload, "files": files},
        )
        batch_shards.move_shard(tx, shard.id, ShardState.SUBMITTING, at=now, operation=key)
    engine.reach("batch.after-intent")


def _no_money(engine: Engine, op: Operation, run: Run, shard: Shard, error: BudgetExceeded) -> None:
    now = engine.now()
    with engine.store.write() as tx:
        operations.save(tx, op, at=now, status="cancelled", due_at=None, last_error=str(error))
        batch_shards.put_back(tx, shard, str(error), at=now, counts=False)
        if run.terms.on_exhausted == "cancel":
            problem = {"message": str(error), "stage": run.state.value}
            batch_shards.move_run(
                tx,
                run,
                RunState.CANCELLING,
                at=now,
                cause=str(error),
                worker=engine.worker,
                problem=problem,
            )
            batch_shards.wake_driver(tx, run.id, at=now)
        else:
            batch_shards.attention(tx, run.id, str(error), at=now, worker=engine.worker)


def remove_upload(engine: Engine, run: Run, shard: Shard) -> None:
    """Remove the provider's form of a shard, which is made of its rows again where it is needed."""
    for path in batch_shards.folder(engine, run).glob(f"{shard.stem}.[0-9]*.jsonl"):
        path.unlink(missing_ok=True)


def _not_taken(engine: Engine, op: Operation, why: str, *, final: bool) -> None:
    with engine.store.write() as tx:
        operations.save(tx, op, at=engine.now(), status="failed", due_at=None, last_error=why)
        refuse(tx, engine, op, why, final=final)
