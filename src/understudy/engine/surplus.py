"""A second training job under one key: cancelled, watched until it has ended, and booked.

It is an operation of its own, because whoever meets it may die, the provider may be away or take
its time to cancel, and one that cannot be cancelled is billed in full.
"""

from __future__ import annotations

import sqlalchemy as sa

from understudy.backend import Backend, SupportsCancel
from understudy.costs import ledger
from understudy.costs.money import to_nanos
from understudy.engine import jobs, operations
from understudy.engine.backoff import poll_interval
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.engine.trouble import never_give_up
from understudy.errors import AuthError, TerminalError
from understudy.model import Handle, RemoteState, RemoteStatus
from understudy.store import schema

__all__ = ["intend", "step", "training_cost"]


def intend(engine: Engine, op: Operation, extra: Handle) -> None:
    """Record that ``extra`` is to be cancelled, and tell of it. Again changes nothing."""
    assert op.job_id is not None
    now = engine.now()
    key = f"{op.job_id}.surplus.{extra.id}"
    with engine.store.write() as tx:
        same = sa.select(schema.operations.c.key).where(schema.operations.c.key == key)
        if tx.execute(same).first() is not None:
            return
        handle = {"kind": extra.kind, "id": extra.id, "data": dict(extra.data)}
        operations.insert(
            tx,
            key=key,
            kind="surplus",
            backend=op.backend,
            at=now,
            job_id=op.job_id,
            payload={"handle": handle, "train": op.key},
        )
        jobs.note(
            tx,
            op.job_id,
            "surplus",
            at=now,
            cause=f"a second job {extra.id} had been started by a frozen worker; it is cancelled "
            "where that can be done, and its cost is booked",
            fields={"id": extra.id},
            worker=engine.worker,
        )


def step(engine: Engine, op: Operation) -> None:
    """Cancel it, look at it until it has ended, and book what it cost."""
    never_give_up(engine, op, _end)


def _end(engine: Engine, op: Operation) -> None:
    assert op.job_id is not None
    backend = engine.backends.backend(op.backend)
    handle = Handle(**op.payload["handle"])
    if op.looks == 0:
        _cancel(backend, handle)
    status = backend.poll(handle)
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
        cost = training_cost(engine, op.backend, jobs.get(tx, op.job_id).plan, status)
        ledger.spend(
            tx,
            operation=op.payload["train"],
            kind="train",
            nanos=cost,
            note=f"with surplus {handle.id}",
        )
        jobs.note(
            tx,
            op.job_id,
            "surplus_ended",
            at=now,
            cause=f"the second job {handle.id} is {status.raw!r}",
            fields={"id": handle.id, "status": status.raw, "cost_nanos": cost},
            worker=engine.worker,
        )


def _cancel(backend: Backend, handle: Handle) -> None:
    if not isinstance(backend, SupportsCancel):
        return
    try:
        backend.cancel(handle)
    except AuthError:
        raise
    except TerminalError:
        return  # then it runs to its end


def training_cost(engine: Engine, backend: str, plan: jobs.Plan, status: RemoteStatus) -> int:
    """Nano-dollars; a success without a token count is booked at its estimate, never at zero."""
    if status.usd is not None:
        return to_nanos(status.usd)
    tokens = status.trained_tokens
    if tokens is None:
        tokens = plan.expected_tokens if status.state is RemoteState.SUCCEEDED else 0
    provider = engine.backends.capabilities(backend).price_book
    return to_nanos(
        engine.prices.training_cost(provider, plan.spec.base_model, max(tokens, 0), plan.tier)
    )
