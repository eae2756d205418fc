"""Looking without touching: where a job stands, who holds it, what its provider tells of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from understudy.backend import SupportsCheckpoints, SupportsEvents
from understudy.engine import jobs, operations
from understudy.engine.context import Backends
from understudy.engine.jobs import JobEvent
from understudy.errors import ConfigError
from understudy.model import Checkpoint, Handle, Json, RemoteEvent
from understudy.states import State
from understudy.store import Store, schema

__all__ = [
    "CurvePoint",
    "TrainingLog",
    "checkpoints",
    "events_since",
    "going_down",
    "holder",
    "newest_event",
    "outstanding",
    "state_of",
    "training_handle",
    "unattended",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """One measurement of a training run, as its provider gave it."""

    step: int
    total_steps: int | None
    train_loss: float | None
    valid_loss: float | None


def state_of(tx: sa.Connection, job_id: str) -> State:
    """The state of the job with exactly that id."""
    query = sa.select(schema.jobs.c.state).where(schema.jobs.c.id == job_id)
    return State(tx.execute(query).scalar_one())


def newest_event(tx: sa.Connection) -> int:
    """Number of the newest line of history of all jobs; 0 where there is none."""
    return tx.execute(sa.select(sa.func.max(schema.events.c.id))).scalar() or 0


def events_since(
    tx: sa.Connection, after: int, *, job_id: str | None = None, worker: str | None = None
) -> list[JobEvent]:
    """Lines of history numbered above ``after``, oldest first, of one job or one worker or all."""
    table = schema.events
    query = sa.select(table).where(table.c.id > after).order_by(table.c.id)
    if job_id is not None:
        query = query.where(table.c.job_id == job_id)
    if worker is not None:
        query = query.where(table.c.worker == worker)
    names = JobEvent.__dataclass_fields__
    return [JobEvent(**{name: row[name] for name in names}) for row in tx.execute(query).mappings()]


def holder(tx: sa.Connection, job_id: str, *, now: float) -> tuple[str, float] | None:
    """Which worker holds an operation of the job, and until when at least."""
    table = schema.operations
    query = (
        sa.select(table.c.lease_owner, table.c.lease_until)
        .where(table.c.job_id == job_id, table.c.lease_until > now)
        .order_by(table.c.lease_until.desc())
        .limit(1)
    )
    row = tx.execute(query).first()
    return None if row is None else (row.lease_owner, row.lease_until)


def unattended(tx: sa.Connection, job_id: str, *, now: float, patience: float) -> bool:
    """Whether work of the job is due since ``patience`` seconds and no worker holds it."""
    table = schema.operations
    free = table.c.lease_until.is_(None) | (table.c.lease_until < now - patience)
    query = sa.select(table.c.key).where(
        table.c.job_id == job_id, table.c.due_at < now - patience, free
    )
    return tx.execute(query.limit(1)).first() is not None


def outstanding(tx: sa.Connection) -> int:
    """How many operations still want to be looked at, now or later."""
    table = schema.operations
    query = sa.select(sa.func.count()).where(table.c.due_at.is_not(None))
    return tx.execute(query).scalar_one()


def going_down(tx: sa.Connection, job_id: str, *, now: float, patience: int = 3) -> list[str]:
    """Names of the job's deployments that are being taken down at this moment.

    One with ``patience`` failures in a row is left to whoever works on, and one that stands until
    its own day is not among them.
    """
    ops, table = schema.operations, schema.deployments
    downs = ops.c.key == table.c.operation + ".down"
    query = (
        sa.select(table.c.name)
        .join_from(table, ops, downs)
        .where(
            table.c.job_id == job_id,
            ops.c.status.in_(operations.ACTIVE),
            ops.c.failures < patience,
            (ops.c.due_at <= now) | table.c.state.in_(("stopping", "failed")),
        )
        .order_by(table.c.created_at)
    )
    return list(tx.execute(query).scalars())


def training_handle(tx: sa.Connection, job_id: str) -> Handle | None:
    """The provider's job: the job's own, or the one whose model it took over."""
    found: Handle | None = None
    for op in operations.of_job(tx, job_id):
        if op.kind == "train" and op.handle is not None:
            found = op.handle
        elif op.kind == "register" and "handle" in op.payload:
            found = found or Handle(**op.payload["handle"])
    return found


def _handle_or_error(tx: sa.Connection, job_id: str) -> tuple[str, Handle]:
    job = jobs.get(tx, job_id)
    handle = training_handle(tx, job.id)
    if handle is None:
        raise ConfigError(
            f"{job.id} is {job.state.value} and has no job at {job.backend} yet; "
            "look again when it has been submitted"
        )
    return job.backend, handle


class TrainingLog:
    """The provider's log of one job's training, read a little further at every look.

    Args:
        store: the store.
        backends: where the job's backend comes from.
        job_id: the job's full id.
    """

    def __init__(self, store: Store, backends: Backends, job_id: str) -> None:
        self._store, self._backends, self._job_id = store, backends, job_id
        self._after: str | None = None
        self.points: list[CurvePoint] = []

    def look(self) -> list[RemoteEvent]:
        """The events since the last look; ``points`` grows with them. None before submission.

        Raises:
            BackendError: the provider could not be asked.
        """
        with self._store.read() as tx:
            backend_name = jobs.get(tx, self._job_id).backend
            handle = training_handle(tx, self._job_id)
        backend = self._backends.backend(backend_name) if handle else None
        if handle is None or not isinstance(backend, SupportsEvents):
            return []
        found = list(backend.events(handle, after=self._after))
        if found:
            self._after = found[-1].id
        self.points += _points(found)
        return found


def _points(found: list[RemoteEvent]) -> Iterator[CurvePoint]:
    for event in found:
        step, loss = event.metrics.get("step"), event.metrics.get("train_loss")
        if step is not None and loss is not None:
            yield CurvePoint(
                step=int(step),
                total_steps=_whole(event.metrics, "total_steps"),
                train_loss=float(loss),
                valid_loss=_number(event.metrics, "valid_loss"),
            )


def _whole(metrics: Mapping[str, Json], name: str) -> int | None:
    value = metrics.get(name)
    return None if value is None else int(value)


def _number(metrics: Mapping[str, Json], name: str) -> float | None:
    value = metrics.get(name)
    return None if value is None else float(value)


def checkpoints(store: Store, backends: Backends, job_id: str) -> list[Checkpoint]:
    """The models of earlier steps that the provider keeps, earliest first.

    Raises:
        ConfigError: the backend keeps none, or the job was not submitted yet.
    """
    with store.read() as tx:
        name, handle = _handle_or_error(tx, job_id)
    backend = backends.backend(name)
    if not isinstance(backend, SupportsCheckpoints):
        reason = backends.capabilities(name).checkpoints.reason
        raise ConfigError(f"{name} has no checkpoints: {reason}")
    return backend.checkpoints(handle)
