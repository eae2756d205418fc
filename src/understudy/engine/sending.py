"""How paid work is started once and only once.

1. *Intended*: the intent stands in the store, with its reservation, before anything is sent.
2. *Sending*: the store says that a request may go out until ``not_after``. Just before it does,
   the sender looks once more whether its lease and that deadline still hold.
3. *Live*: the provider's handle is stored.

A worker that dies in *sending* leaves a question. Whoever comes next asks the provider
(``find``): found work is adopted; work that is absent is sent again only when no request of the
earlier attempt can still arrive: after ``not_after``, the request's own time limit and the
provider's list lag. What is left is a process that is frozen between its last look and the
request: when it wakes, its second piece of work is found, cancelled and reported.
"""

from __future__ import annotations

from typing import Any, Protocol

import sqlalchemy as sa

from understudy.backend import FindResult
from understudy.engine import operations
from understudy.engine.backoff import retry_delay
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.errors import (
    AuthError,
    BackendError,
    InvalidData,
    NotEligible,
    NotFound,
    OutcomeUnknown,
    QuotaError,
    Retired,
    StaleRecord,
    TransientError,
)
from understudy.model import Absent, Found, Handle, NotYet

__all__ = ["Starter", "confirm", "recover", "start"]

_REFUSALS = (InvalidData, NotEligible, NotFound, Retired)


class Starter(Protocol):
    """What one kind of paid operation adds to the protocol above."""

    def send(self, engine: Engine, op: Operation) -> Handle:
        """Exactly one request that starts the work."""
        ...

    def find(self, engine: Engine, op: Operation) -> FindResult | None:
        """The work by its key; None where the backend has no way to tell."""
        ...

    def started(self, tx: sa.Connection, engine: Engine, op: Operation, how: str) -> None:
        """The job's part of the transaction that stores the handle."""
        ...

    def refused(self, tx: sa.Connection, engine: Engine, op: Operation, why: BackendError) -> None:
        """The job's part of the transaction in which the provider's refusal is stored."""
        ...

    def stuck(self, engine: Engine, op: Operation, why: str, **changes: Any) -> None:
        """Ask a person."""
        ...

    def never_started(self, tx: sa.Connection, engine: Engine, op: Operation) -> bool:
        """True, and the job is closed, if the work is not wanted any more."""
        ...

    def surplus(self, engine: Engine, op: Operation, extra: Handle) -> None:
        """Cancel and report a second piece of work under the same key."""
        ...


def start(engine: Engine, starter: Starter, op: Operation) -> None:
    """From *intended* to *live*, or back."""
    now = engine.now()
    not_after = now + engine.timing.send_window
    with engine.store.write() as tx:
        operations.guard(tx, op)  # before the job's row: see operations.lock_job
        if starter.never_started(tx, engine, op):
            operations.save(tx, op, at=now, status="cancelled", due_at=None)
            return
        operations.save(
            tx,
            op,
            at=now,
            status="sending",
            not_after=not_after,
            attempt=op.attempt + 1,
            lease_until=now + engine.timing.lease,
        )
    engine.reach(f"{op.kind}.sending-stored")
    late = engine.now() > not_after
    if late or not operations.still_ours(engine.store, op, now=engine.now()):
        return  # the lease lapses, and whoever claims it next asks the provider first
    engine.reach(f"{op.kind}.before-post")
    try:
        handle = starter.send(engine, op)
    except Exception as error:  # noqa: BLE001 - whatever it was, the intent must not be lost
        _not_started(engine, starter, op, error)
        return
    engine.reach(f"{op.kind}.after-reply")
    _adopt(engine, starter, op, Found(handle=handle), how="created")
    engine.reach(f"{op.kind}.stored")


def _not_started(engine: Engine, starter: Starter, op: Operation, error: Exception) -> None:
    now = engine.now()
    if isinstance(error, _REFUSALS):
        with engine.store.write() as tx:
            operations.save(tx, op, at=now, status="failed", due_at=None, last_error=str(error))
            starter.refused(tx, engine, op, error)
    elif isinstance(error, AuthError | QuotaError):
        starter.stuck(engine, op, str(error), status="intended")
    elif isinstance(error, TransientError):
        delay = retry_delay(op.failures + 1, asked=getattr(error, "retry_after", None))
        with engine.store.write() as tx:
            operations.save(
                tx,
                op,
                at=now,
                status="intended",
                due_at=now + delay,
                failures=op.failures + 1,
                last_error=str(error),
            )
    else:
        # Also an error that the plugin did not foresee: the request may have gone out.
        what = str(error) if isinstance(error, OutcomeUnknown) else f"{type(error).__name__}"
        with engine.store.write() as tx:
            operations.save(tx, op, at=now, due_at=now + 1, last_error=what)


def recover(engine: Engine, starter: Starter, op: Operation) -> None:
    """Answer the question that an unfinished *sending* left."""
    now = engine.now()
    found = starter.find(engine, op)
    if found is None:
        starter.stuck(
            engine,
            op,
            f"{op.backend} may or may not have started {op.key}, and it cannot be searched. Look "
            f"for it at the provider; then `understudy jobs attach {op.job_id} REMOTE-ID`, or "
            f"`understudy jobs retry {op.job_id} --resubmit` if it is not there.",
        )
        return
    if isinstance(found, Found):
        _adopt(engine, starter, op, found, how="found again by its key")
        return
    capabilities = engine.backends.capabilities(op.backend)
    settled = (op.not_after or now) + capabilities.request_timeout + capabilities.list_lag
    with engine.store.write() as tx:
        operations.guard(tx, op)
        if isinstance(found, Absent) and now > settled:
            if starter.never_started(tx, engine, op):
                operations.save(tx, op, at=now, status="cancelled", due_at=None)
            else:
                operations.save(tx, op, at=now, status="intended", due_at=now)
            return
        if isinstance(found, NotYet):
            again = now + retry_delay(op.failures, asked=found.retry_after)
        else:
            again = min(now + 10, settled + 1)
        operations.save(tx, op, at=now, due_at=again)


def _adopt(engine: Engine, starter: Starter, op: Operation, found: Found, *, how: str) -> None:
    now = engine.now()
    capabilities = engine.backends.capabilities(op.backend)
    try:
        with engine.store.write() as tx:
            operations.save(
                tx,
                op,
                at=now,
                status="live",
                handle=found.handle,
                due_at=now,
                confirm_at=now + capabilities.request_timeout + capabilities.list_lag,
                failures=0,
                last_error=None,
            )
            starter.started(tx, engine, op, how)
    except StaleRecord:
        _lost_the_race(engine, starter, op, found.handle)
        raise
    for extra in found.surplus:
        starter.surplus(engine, op, extra)


def _lost_the_race(engine: Engine, starter: Starter, op: Operation, handle: Handle) -> None:
    """This worker was frozen and another took over: keep theirs, take back ours."""
    with engine.store.read() as tx:
        present = operations.get(tx, op.key)
    if present.handle is not None and present.handle.id != handle.id:
        starter.surplus(engine, op, handle)


def confirm(engine: Engine, starter: Starter, op: Operation) -> None:
    """The one more look that follows every create: is there a second one?"""
    found = starter.find(engine, op)
    if isinstance(found, Found):
        others = (found.handle, *found.surplus)
        for extra in others:
            if op.handle is not None and extra.id != op.handle.id:
                starter.surplus(engine, op, extra)
    now = engine.now()
    again = None
    if isinstance(found, NotYet):
        again = now + retry_delay(op.failures, asked=found.retry_after)
    with engine.store.write() as tx:
        due = now if op.status == "live" else again
        operations.save(tx, op, at=now, confirm_at=again, due_at=due)
