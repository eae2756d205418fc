"""Operations: one piece of remote or long work each, claimed under a lease.

``status`` goes intended -> sending -> live -> done | failed | cancelled. ``due_at`` is when
somebody should look at it next, None when nobody should. A claim raises ``fence``; every later
write asks for the fence that it was claimed with, so a worker that lost its lease to another
cannot write any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from understudy.errors import StaleRecord
from understudy.model import Handle, Json
from understudy.secrets import redact
from understudy.states import State
from understudy.store.database import Store
from understudy.store.schema import jobs, operations

__all__ = [
    "ACTIVE",
    "APART",
    "Operation",
    "advance",
    "claim",
    "close",
    "exists",
    "extend",
    "get",
    "guard",
    "insert",
    "keep_handle",
    "lock_job",
    "next_due",
    "of_job",
    "owner",
    "reschedule_many",
    "save",
    "still_ours",
    "unless_wished",
    "wake",
]

ACTIVE = ("intended", "sending", "live")

APART = ("surplus", "undeploy")
"""Kinds that go on by themselves, whatever is asked of their job."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """An operation as it was when it was claimed; ``job_state`` is its job's state then."""

    key: str
    job_id: str | None
    kind: str
    backend: str
    status: str
    payload: Mapping[str, Json]
    handle: Handle | None
    wish: str | None
    last_raw: str | None
    last_error: str | None
    attempt: int
    looks: int
    failures: int
    not_after: float | None
    confirm_at: float | None
    due_at: float | None
    lease_owner: str | None
    lease_until: float | None
    fence: int
    created_at: float
    job_state: State | None = None


_NAMES = tuple(name for name in Operation.__dataclass_fields__ if name != "job_state")


def _operation(row: Any) -> Operation:
    values = {name: row[name] for name in _NAMES}
    handle = values["handle"]
    values["handle"] = handle and Handle(**handle)
    state = row.get("job_state")
    return Operation(**values, job_state=state and State(state))


def insert(
    tx: sa.Connection,
    *,
    key: str,
    kind: str,
    backend: str,
    at: float,
    job_id: str | None = None,
    payload: Mapping[str, Json] | None = None,
    due_at: float | None = None,
) -> None:
    """Record an intent: from here on the work will be done, once. ``due_at``: not before then."""
    tx.execute(
        sa.insert(operations).values(
            key=key,
            job_id=job_id,
            kind=kind,
            backend=backend,
            status="intended",
            payload=dict(payload or {}),
            due_at=at if due_at is None else due_at,
            created_at=at,
            updated_at=at,
        )
    )


def claim(
    store: Store,
    *,
    owner: str,
    now: float,
    lease: float,
    limit: int,
    watched: bool,
    job_id: str | None = None,
) -> list[Operation]:
    """Lease up to ``limit`` due operations, those due longest first.

    Args:
        store: the store.
        owner: this worker's name.
        now: the time.
        lease: seconds until another worker may take them.
        limit: how many at most.
        watched: True for live training jobs, which are polled together; False for the rest.
        job_id: only this job's.
    """
    due = _due(now, job_id) & (_watched() if watched else sa.not_(_watched()))
    with store.read() as tx:
        # Idle workers look without taking the write lock.
        if tx.execute(sa.select(operations.c.key).where(due).limit(1)).first() is None:
            return []
    with store.write() as tx:
        keys = (
            tx.execute(
                sa.select(operations.c.key)
                .where(due)
                .order_by(operations.c.due_at)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            .scalars()
            .all()
        )
        if not keys:
            return []
        for part in _parts(keys, 500):
            tx.execute(
                sa.update(operations)
                .where(operations.c.key.in_(part))
                .values(lease_owner=owner, lease_until=now + lease, fence=operations.c.fence + 1)
            )
        found: list[Any] = []
        for part in _parts(keys, 500):
            found += tx.execute(_joined().where(operations.c.key.in_(part))).mappings().all()
    return [_operation(row) for row in found]


def _parts(keys: Sequence[str], size: int) -> list[Sequence[str]]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def _joined() -> sa.Select[Any]:
    return sa.select(operations, jobs.c.state.label("job_state")).select_from(
        operations.outerjoin(jobs, jobs.c.id == operations.c.job_id)
    )


def _due(now: float, job_id: str | None) -> sa.ColumnElement[bool]:
    free = operations.c.lease_until.is_(None) | (operations.c.lease_until < now)
    due = (operations.c.due_at <= now) & free
    return due if job_id is None else due & (operations.c.job_id == job_id)


def _watched() -> sa.ColumnElement[bool]:
    return (operations.c.kind == "train") & (operations.c.status == "live")


def next_due(store: Store, *, job_id: str | None = None) -> float | None:
    """When the next operation wants to be looked at; leased ones count from their lease's end."""
    when = sa.case(
        (operations.c.lease_until > operations.c.due_at, operations.c.lease_until),
        else_=operations.c.due_at,
    )
    query = sa.select(sa.func.min(when)).where(operations.c.due_at.is_not(None))
    if job_id is not None:
        query = query.where(operations.c.job_id == job_id)
    with store.read() as tx:
        return tx.execute(query).scalar()


def save(tx: sa.Connection, operation: Operation, *, at: float, **changes: Any) -> None:
    """Write to a claimed operation and give its lease back.

    Pass ``lease_until`` to keep the lease.

    Raises:
        StaleRecord: another worker has claimed it meanwhile; nothing was written.
    """
    if "lease_until" not in changes:
        changes |= {"lease_owner": None, "lease_until": None}
    if changes.get("last_error"):
        changes["last_error"] = redact(changes["last_error"])
    if isinstance(changes.get("handle"), Handle):
        handle = changes["handle"]
        changes["handle"] = {"kind": handle.kind, "id": handle.id, "data": dict(handle.data)}
    written = tx.execute(
        sa.update(operations)
        .where(operations.c.key == operation.key, operations.c.fence == operation.fence)
        .values(updated_at=at, **changes)
    ).rowcount
    if written != 1:
        raise StaleRecord(
            f"operation {operation.key} was taken over by another worker; this one wrote nothing"
        )


def advance(tx: sa.Connection, key: str, *, due_at: float) -> bool:
    """Make an operation that waits due at ``due_at`` or earlier; whether there is such a one."""
    same = operations.c.key == key
    tx.execute(
        sa.update(operations)
        .where(same, operations.c.status.in_(ACTIVE), operations.c.due_at > due_at)
        .values(due_at=due_at)
    )
    return tx.execute(sa.select(operations.c.key).where(same)).first() is not None


def close(tx: sa.Connection, key: str, *, at: float) -> None:
    """End an operation that is still active, also one that a worker holds: it writes no more."""
    tx.execute(
        sa.update(operations)
        .where(operations.c.key == key, operations.c.status.in_(ACTIVE))
        .values(
            status="cancelled",
            due_at=None,
            confirm_at=None,
            fence=operations.c.fence + 1,
            lease_owner=None,
            lease_until=None,
            updated_at=at,
        )
    )


def wake(tx: sa.Connection, key: str, *, at: float) -> None:
    """Have an operation looked at again that waits for a person."""
    parked = operations.c.due_at.is_(None) & operations.c.status.in_(ACTIVE)
    tx.execute(
        sa.update(operations)
        .where(operations.c.key == key, parked)
        .values(due_at=at, failures=0, looks=0)
    )


def keep_handle(tx: sa.Connection, key: str, handle: Handle) -> None:
    """Store the handle of an operation that nobody holds."""
    stored = {"kind": handle.kind, "id": handle.id, "data": dict(handle.data)}
    tx.execute(sa.update(operations).where(operations.c.key == key).values(handle=stored))


def guard(tx: sa.Connection, operation: Operation) -> None:
    """Raise ``StaleRecord`` unless this worker's claim still holds, and hold it until commit."""
    fence = tx.execute(
        sa.select(operations.c.fence).where(operations.c.key == operation.key).with_for_update()
    ).scalar_one()
    if fence != operation.fence:
        raise StaleRecord(
            f"operation {operation.key} was taken over by another worker; this one wrote nothing"
        )


def reschedule_many(
    tx: sa.Connection, due: Sequence[tuple[Operation, float]], *, at: float
) -> None:
    """Give many unchanged operations back, each with the time of its next look."""
    if not due:
        return
    statement = (
        sa.update(operations)
        .where(
            operations.c.key == sa.bindparam("b_key"), operations.c.fence == sa.bindparam("b_fence")
        )
        .values(
            due_at=unless_wished(sa.bindparam("b_due"), at),
            looks=operations.c.looks + 1,
            failures=0,
            lease_owner=None,
            lease_until=None,
            updated_at=at,
        )
    )
    tx.execute(
        statement,
        [{"b_key": op.key, "b_fence": op.fence, "b_due": when} for op, when in due],
    )


def unless_wished(due: Any, now: float) -> sa.ColumnElement[float]:
    """``due``, but at once where a person asked for something while the worker was at it."""
    return sa.case((operations.c.wish.is_not(None), now), else_=due)


def still_ours(store: Store, operation: Operation, *, now: float) -> bool:
    """Whether this worker's lease on ``operation`` still holds."""
    with store.read() as tx:
        row = tx.execute(
            sa.select(operations.c.fence, operations.c.lease_until).where(
                operations.c.key == operation.key
            )
        ).one()
    return row.fence == operation.fence and row.lease_until is not None and row.lease_until > now


def extend(store: Store, held: Mapping[str, int], *, until: float) -> None:
    """Lengthen leases that are still ours; ``held`` maps keys to fences."""
    if not held:
        return
    statement = (
        sa.update(operations)
        .where(
            operations.c.key == sa.bindparam("b_key"),
            operations.c.fence == sa.bindparam("b_fence"),
            operations.c.lease_until.is_not(None),
        )
        .values(lease_until=until)
    )
    with store.write() as tx:
        tx.execute(statement, [{"b_key": key, "b_fence": fence} for key, fence in held.items()])


def exists(tx: sa.Connection, key: str) -> bool:
    """Whether there is an operation with that key, whatever became of it."""
    query = sa.select(operations.c.key).where(operations.c.key == key)
    return tx.execute(query).first() is not None


def get(tx: sa.Connection, key: str) -> Operation:
    """The operation with that key."""
    row = tx.execute(_joined().where(operations.c.key == key)).mappings().one()
    return _operation(row)


def owner(tx: sa.Connection, backend: str, remote_id: str) -> str | None:
    """The job to which the provider's training job ``remote_id`` belongs.

    Until commit nobody else learns that it is free.
    """
    if tx.dialect.name == "postgresql":
        tx.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(remote_id))))
    query = sa.select(operations.c.job_id, operations.c.handle, operations.c.payload).where(
        operations.c.kind.in_(("train", "surplus")), operations.c.backend == backend
    )
    for row in tx.execute(query):
        handle = row.handle or row.payload.get("handle")
        if handle and handle["id"] == remote_id:
            return str(row.job_id)
    return None


def lock_job(tx: sa.Connection, job_id: str) -> None:
    """Hold a job's operations until commit.

    Workers write to the operation first and to its job second. Whoever changes both does it in
    that order, or the two wait for each other for ever.
    """
    query = sa.select(operations.c.key).where(operations.c.job_id == job_id)
    tx.execute(query.order_by(operations.c.key).with_for_update())


def of_job(tx: sa.Connection, job_id: str) -> list[Operation]:
    """All operations of a job, oldest first."""
    query = _joined().where(operations.c.job_id == job_id).order_by(operations.c.created_at)
    return [_operation(row) for row in tx.execute(query).mappings()]
