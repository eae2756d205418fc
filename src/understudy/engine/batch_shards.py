"""Runs and their shards: what is asked by batch, and where each piece of it stands.

A shard goes ``waiting -> uploading -> submitting -> running -> collecting -> collected``. One
that was refused before anything was run goes back to *waiting*; one that is not wanted any more
before the provider had it is *cancelled*. A run is *running* while shards are open, *finishing*
while its answers are published, and then *done*, or *withheld* where too few were answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from understudy.engine import jobs, operations
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.errors import ConfigError
from understudy.model import Json
from understudy.secrets import redact
from understudy.store.schema import batch_runs, batch_shards, events
from understudy.store.schema import operations as operations_table
from understudy.validation import nearest

__all__ = [
    "LIVE",
    "OPEN",
    "Run",
    "RunState",
    "Shard",
    "ShardState",
    "Terms",
    "add_shards",
    "attention",
    "drive_key",
    "find_run",
    "folder",
    "get_run",
    "get_shard",
    "list_runs",
    "move_run",
    "move_shard",
    "of_operation",
    "put_back",
    "shard_stem",
    "shards_of",
    "wake_driver",
]


class ShardState(StrEnum):
    """Where a shard stands."""

    WAITING = "waiting"
    UPLOADING = "uploading"
    SUBMITTING = "submitting"
    RUNNING = "running"
    COLLECTING = "collecting"
    COLLECTED = "collected"
    CANCELLED = "cancelled"


LIVE = (ShardState.UPLOADING, ShardState.SUBMITTING, ShardState.RUNNING)
"""States in which a shard's tokens count as enqueued at the provider."""

OPEN = (ShardState.WAITING, *LIVE, ShardState.COLLECTING)
"""States in which something is still to be done."""


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    FINISHING = "finishing"
    CANCELLING = "cancelling"
    NEEDS_ATTENTION = "needs_attention"
    DONE = "done"
    WITHHELD = "withheld"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens unless a person asks for it."""
        return self in {RunState.DONE, RunState.WITHHELD, RunState.CANCELLED}


class Terms(BaseModel):
    """What a run may do and spend.

    ``attempts`` is how often a row is asked at most, and how often a shard may be refused;
    ``enqueued_tokens`` and ``at_once`` narrow the provider's limits. ``account`` is the key of
    the operation whose reservation pays where it is not the batches' own (an evaluation's).
    ``via`` is ``batch``, or ``live`` where the model cannot be asked by batch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    budget: str
    on_exhausted: str = "attention"
    max_output_tokens: int
    attempts: int = 3
    enqueued_tokens: int | None = None
    at_once: int | None = None
    account: str | None = None
    via: str = "batch"
    requests_per_minute: float | None = None
    concurrency: int = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run as it stands. ``plan`` holds its ``terms`` and whatever its maker needs."""

    id: str
    name: str
    purpose: str
    owner: str
    backend: str
    model: str
    version: str
    state: RunState
    folder: str
    plan: Mapping[str, Json]
    problem: Mapping[str, Json] | None
    result: Mapping[str, Json] | None
    created_at: float
    updated_at: float

    @property
    def terms(self) -> Terms:
        """What it may do and spend."""
        return Terms.model_validate(self.plan["terms"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A shard as it stands.

    Once collected, ``requests = answered + refused + invalid + failed + again``: *again* went
    into a further shard. ``strays`` are reply rows that nobody asked for, or a second time.
    ``guessed_nanos`` is the part of the cost that rests on the provider's count of rows that
    never came; ``counted_here`` are rows whose tokens were counted on this side.
    """

    id: str
    run_id: str
    number: int
    round: int
    state: ShardState
    requests: int
    bytes: int
    tokens: int
    tries: int
    operation: str | None
    remote_id: str | None
    problem: str | None
    answered: int
    refused: int
    invalid: int
    failed: int
    again: int
    strays: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    counted_here: int
    cost_nanos: int
    guessed_nanos: int
    started_at: float | None

    @property
    def stem(self) -> str:
        """Name of its files in the run's folder."""
        return shard_stem(self.number, self.round)


_SHARD_FIELDS = tuple(Shard.__dataclass_fields__)
_RUN_FIELDS = tuple(Run.__dataclass_fields__)


def _shard(row: Any) -> Shard:
    values = {name: row[name] for name in _SHARD_FIELDS}
    return Shard(**{**values, "state": ShardState(values["state"])})


def _run(row: Any) -> Run:
    values = {name: row[name] for name in _RUN_FIELDS}
    return Run(**{**values, "state": RunState(values["state"])})


def drive_key(run_id: str) -> str:
    """Key of the operation that drives a run."""
    return f"{run_id}.drive"


def folder(engine: Engine, run: Run) -> Path:
    """Where the run's files are; workers on other hosts must see the same folder."""
    return engine.batch_root / run.folder


def find_run(tx: sa.Connection, run_id: str) -> Run | None:
    """The run with exactly that id."""
    row = tx.execute(sa.select(batch_runs).where(batch_runs.c.id == run_id)).mappings().first()
    return None if row is None else _run(row)


def get_run(tx: sa.Connection, run_id: str) -> Run:
    """The run whose id begins with ``run_id``, or the newest one of that name.

    Raises:
        ConfigError: there is none, or the beginning fits several.
    """
    begins = batch_runs.c.id.startswith(run_id, autoescape=True)
    query = sa.select(batch_runs).where(begins | (batch_runs.c.name == run_id))
    rows = tx.execute(query.order_by(batch_runs.c.created_at.desc())).mappings().all()
    exact = [row for row in rows if run_id == row["id"]] or [
        row for row in rows if run_id == row["name"]
    ]
    if exact or len(rows) == 1:
        return _run((exact or rows)[0])
    if rows:
        raise ConfigError(f"several runs begin with {run_id!r}; write more of the id")
    newest = sa.select(batch_runs.c.id).order_by(batch_runs.c.created_at.desc()).limit(20)
    known = tx.execute(newest).scalars()
    raise ConfigError(f"there is no batch run {run_id!r}: {nearest(run_id, known)}")


def list_runs(tx: sa.Connection, *, limit: int = 100) -> list[Run]:
    """Runs, newest first."""
    query = sa.select(batch_runs).order_by(batch_runs.c.created_at.desc()).limit(limit)
    return [_run(row) for row in tx.execute(query).mappings()]


def get_shard(tx: sa.Connection, shard_id: str) -> Shard:
    """The shard with that id."""
    query = sa.select(batch_shards).where(batch_shards.c.id == shard_id)
    return _shard(tx.execute(query).mappings().one())


def shards_of(tx: sa.Connection, run_id: str) -> list[Shard]:
    """All shards of a run in the order of their keys; a shard before what was asked again."""
    query = sa.select(batch_shards).where(batch_shards.c.run_id == run_id)
    query = query.order_by(batch_shards.c.number, batch_shards.c.round)
    return [_shard(row) for row in tx.execute(query).mappings()]


def of_operation(engine: Engine, op: Operation) -> tuple[Run, Shard]:
    """The run and the shard that an operation works on."""
    with engine.store.read() as tx:
        run = find_run(tx, op.payload["run"])
        shard = get_shard(tx, op.payload["shard"])
    assert run is not None
    return run, shard


def add_shards(
    tx: sa.Connection, run: Run, found: Sequence[Mapping[str, Any]], *, at: float
) -> list[str]:
    """Record shards that wait: number, round, requests, bytes and tokens of each; their ids.

    The run's ``nonce`` is in them, and so in the keys at the provider: another project that asks
    the same of the same account makes batches of its own, and must not find ours.
    """
    rows = [
        {
            **one,
            "id": f"{run.id}.{run.plan['nonce']}.{shard_stem(one['number'], one['round'])}",
            "run_id": run.id,
            "state": ShardState.WAITING,
            "updated_at": at,
        }
        for one in found
    ]
    for start in range(0, len(rows), 500):
        tx.execute(sa.insert(batch_shards), rows[start : start + 500])
    return [row["id"] for row in rows]


def shard_stem(number: int, round_: int) -> str:
    """Name of a shard's files: its number, and which time it is asked after the first."""
    return f"{number:05}" if round_ == 1 else f"{number:05}.r{round_}"


def move_shard(
    tx: sa.Connection, shard_id: str, state: ShardState, *, at: float, **more: Any
) -> None:
    """Bring a shard into ``state``. The caller holds the operation that works on it."""
    tx.execute(
        sa.update(batch_shards)
        .where(batch_shards.c.id == shard_id)
        .values(state=state, updated_at=at, **more)
    )


def put_back(tx: sa.Connection, shard: Shard, why: str, *, at: float, counts: bool) -> None:
    """Let a shard wait again; nothing of it was run. ``counts``: towards its attempts."""
    move_shard(
        tx,
        shard.id,
        ShardState.WAITING,
        at=at,
        tries=shard.tries + counts,
        operation=None,
        remote_id=None,
        problem=redact(why),
    )


def move_run(
    tx: sa.Connection,
    run: Run,
    state: RunState,
    *,
    at: float,
    cause: str,
    worker: str | None = None,
    **more: Any,
) -> Run:
    """Bring a run into ``state``, with a line of history; the run as it is then."""
    tx.execute(
        sa.update(batch_runs)
        .where(batch_runs.c.id == run.id)
        .values(state=state, updated_at=at, **more)
    )
    if run.owner == run.id:
        tx.execute(
            sa.insert(events).values(
                job_id=run.id,
                at=at,
                event="batch_run",
                from_state=run.state,
                to_state=state,
                cause=redact(cause),
                fields={},
                worker=worker,
            )
        )
    moved = find_run(tx, run.id)
    assert moved is not None
    return moved


def attention(tx: sa.Connection, run_id: str, why: str, *, at: float, worker: str | None) -> None:
    """Ask a person; what runs goes on, nothing new is started. An evaluation's job stops too."""
    run = find_run(tx, run_id)
    assert run is not None
    if not run.state.ended and run.state is not RunState.CANCELLING:
        problem = {"message": redact(why), "stage": run.state.value}
        if run.state is RunState.NEEDS_ATTENTION and run.problem:
            problem["stage"] = run.problem["stage"]
        to = RunState.NEEDS_ATTENTION
        move_run(tx, run, to, at=at, cause=why, worker=worker, problem=problem)
    if run.owner != run.id:
        jobs.attention(tx, run.owner, redact(why), at=at, worker=worker)


def wake_driver(tx: sa.Connection, run_id: str, *, at: float) -> None:
    """Have the run's driver look now: a shard has moved."""
    key = drive_key(run_id)
    tx.execute(
        sa.update(operations_table)
        .where(
            operations_table.c.key == key,
            operations_table.c.status.in_(operations.ACTIVE),
            operations_table.c.due_at > at,
        )
        .values(due_at=at)
    )
