"""Job records: read, create, and move through the state machine by compare-and-set."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, TypeAdapter

from understudy.errors import ConfigError, StaleRecord
from understudy.model import JobSpec, Json
from understudy.recipe import Deployment, Evaluation, Export
from understudy.secrets import redact
from understudy.states import TERMINAL, Event, State, next_state
from understudy.store.schema import events, jobs
from understudy.validation import nearest

__all__ = [
    "JobEvent",
    "JobRecord",
    "Plan",
    "apply",
    "attention",
    "create",
    "find_run",
    "get",
    "history",
    "list_jobs",
    "note",
    "trained_alike",
]


class Plan(BaseModel):
    """All that a worker on another host needs to drive the job. Kept with the job.

    ``train_at_most`` and ``evaluate_at_most`` are the reservations in nano-dollars.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    name: str
    spec: JobSpec
    dataset: str
    """Folder of the dataset."""
    evaluation: Evaluation
    deployment: Deployment = Deployment()
    export: Export = Export()
    alias: str | None
    budget: str
    on_exhausted: str
    train_at_most: int
    evaluate_at_most: int
    expected_tokens: int
    tier: str | None = None
    """Tier of training, for its price."""
    recipe: dict[str, Any]
    estimate: dict[str, Any] = {}
    """What the run was expected to cost, as ``RunEstimate.to_json`` wrote it."""


_PLAN = TypeAdapter(Plan)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRecord:
    """A job as it stands."""

    id: str
    run_key: str
    train_key: str
    name: str
    backend: str
    state: State
    stage: State | None
    version: int
    plan: Plan
    dataset_id: str
    budget: str
    problem: Mapping[str, Json] | None
    model_id: str | None
    created_at: float
    updated_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEvent:
    """One line of a job's history."""

    id: int
    job_id: str
    at: float
    event: str
    from_state: str
    to_state: str
    cause: str
    fields: Mapping[str, Json]
    worker: str | None


def _record(row: Any) -> JobRecord:
    values = {name: row[name] for name in JobRecord.__dataclass_fields__}
    values["state"] = State(values["state"])
    values["stage"] = values["stage"] and State(values["stage"])
    values["plan"] = _PLAN.validate_python(values["plan"])
    return JobRecord(**values)


def create(
    tx: sa.Connection,
    *,
    plan: Plan,
    backend: str,
    dataset_id: str,
    run_key: str,
    train_key: str,
    at: float,
) -> JobRecord:
    """Insert a job in state *created*. ``run_key`` is unique: equal runs share one job."""
    job_id = f"job-{secrets.token_hex(6)}"
    tx.execute(
        sa.insert(jobs).values(
            id=job_id,
            run_key=run_key,
            train_key=train_key,
            name=plan.name,
            backend=backend,
            state=State.CREATED,
            version=0,
            plan=_PLAN.dump_python(plan, mode="json"),
            dataset_id=dataset_id,
            budget=plan.budget,
            created_at=at,
            updated_at=at,
        )
    )
    return get(tx, job_id)


def get(tx: sa.Connection, job_id: str) -> JobRecord:
    """The job with that id, or whose id begins so.

    Raises:
        ConfigError: none or several do.
    """
    # By far the most look-ups give the whole id, for which there is an index.
    rows = tx.execute(sa.select(jobs).where(jobs.c.id == job_id)).mappings().all()
    if not rows:
        query = sa.select(jobs).where(jobs.c.id.startswith(job_id, autoescape=True)).limit(2)
        rows = tx.execute(query).mappings().all()
    if len(rows) == 1:
        return _record(rows[0])
    if rows:
        raise ConfigError(f"several jobs begin with {job_id!r}; write more of the id")
    known = tx.execute(sa.select(jobs.c.id).order_by(jobs.c.created_at.desc()).limit(20)).scalars()
    raise ConfigError(f"there is no job {job_id!r}: {nearest(job_id, known)}")


def find_run(tx: sa.Connection, run_key: str) -> JobRecord | None:
    """The newest job of a run: ``run_key`` itself, or a repeat of it (``run_key#2`` ...)."""
    row = (
        tx.execute(
            sa.select(jobs)
            .where((jobs.c.run_key == run_key) | jobs.c.run_key.startswith(f"{run_key}#"))
            .order_by(jobs.c.created_at.desc(), jobs.c.run_key.desc())
            .limit(1)
        )
        .mappings()
        .first()
    )
    return None if row is None else _record(row)


def trained_alike(tx: sa.Connection, train_key: str) -> list[JobRecord]:
    """Jobs that train the same thing, newest first."""
    query = sa.select(jobs).where(jobs.c.train_key == train_key).order_by(jobs.c.created_at.desc())
    return [_record(row) for row in tx.execute(query).mappings()]


def list_jobs(tx: sa.Connection, *, state: str | None = None, limit: int = 100) -> list[JobRecord]:
    """Jobs, newest first."""
    query = sa.select(jobs).order_by(jobs.c.created_at.desc()).limit(limit)
    if state is not None:
        query = query.where(jobs.c.state == state)
    return [_record(row) for row in tx.execute(query).mappings()]


def history(tx: sa.Connection, job_id: str) -> list[JobEvent]:
    """Every transition and note of a job, oldest first."""
    query = sa.select(events).where(events.c.job_id == job_id).order_by(events.c.id)
    names = JobEvent.__dataclass_fields__
    return [JobEvent(**{name: row[name] for name in names}) for row in tx.execute(query).mappings()]


def apply(
    tx: sa.Connection,
    job_id: str,
    event: Event,
    *,
    at: float,
    cause: str,
    fields: Mapping[str, Json] | None = None,
    worker: str | None = None,
    **changes: Any,
) -> State:
    """Move a job along one arrow, with its line of history; ``changes`` are columns set with it.

    Raises:
        IllegalTransition: the present state has no arrow for ``event``.
        StaleRecord: the job changed between the read and the write.
    """
    row = tx.execute(sa.select(jobs).where(jobs.c.id == job_id).with_for_update()).mappings().one()
    state = State(row["state"])
    target = next_state(state, event, stage=row["stage"] and State(row["stage"]))
    changed = tx.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state == state, jobs.c.version == row["version"])
        .values(
            state=target,
            stage=_stage(row, target),
            version=row["version"] + 1,
            updated_at=at,
            **changes,
        )
    ).rowcount
    if changed != 1:
        raise StaleRecord(f"{job_id} was changed by somebody else; nothing was written")
    _event(tx, job_id, event.value, state, target, at, cause, fields, worker)
    return target


def _stage(row: Any, target: State) -> str | None:
    if target is not State.NEEDS_ATTENTION:
        return None
    stage: str = row["state"]
    return stage


def attention(
    tx: sa.Connection, job_id: str, why: str, *, at: float, worker: str | None = None
) -> None:
    """To needs_attention, unless the job is there already or has ended."""
    state = get(tx, job_id).state
    if state not in TERMINAL and state is not State.NEEDS_ATTENTION:
        problem = {"message": why, "stage": state.value}
        apply(tx, job_id, Event.STUCK, at=at, cause=why, worker=worker, problem=problem)


def note(
    tx: sa.Connection,
    job_id: str,
    name: str,
    *,
    at: float,
    cause: str,
    fields: Mapping[str, Json] | None = None,
    worker: str | None = None,
) -> None:
    """A line of history without a transition: a warning, a surplus, an adoption."""
    state = State(tx.execute(sa.select(jobs.c.state).where(jobs.c.id == job_id)).scalar_one())
    _event(tx, job_id, name, state, state, at, cause, fields, worker)


def _event(  # noqa: PLR0917
    tx: sa.Connection,
    job_id: str,
    name: str,
    before: State,
    after: State,
    at: float,
    cause: str,
    fields: Mapping[str, Json] | None,
    worker: str | None,
) -> None:
    tx.execute(
        sa.insert(events).values(
            job_id=job_id,
            at=at,
            event=name,
            from_state=before,
            to_state=after,
            cause=redact(cause),
            fields=dict(fields or {}),
            worker=worker,
        )
    )
