"""What becomes of an operation, and of its job, when a step goes wrong."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from understudy.costs import ledger
from understudy.engine import batch_shards, jobs, operations
from understudy.engine.backoff import retry_delay
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.errors import (
    BudgetExceeded,
    ConfigError,
    DataError,
    OutcomeUnknown,
    PluginError,
    StaleRecord,
    TerminalError,
    TransientError,
    UnderstudyError,
)
from understudy.secrets import redact
from understudy.states import Event

__all__ = ["after_trouble", "close", "need_attention", "never_give_up", "release", "told"]


def after_trouble(engine: Engine, op: Operation, error: Exception) -> None:
    """Back off from what may pass; ask a person about what will not. Never fail the job."""
    for_a_person = (TerminalError, BudgetExceeded, PluginError, ConfigError, DataError)
    unexpected = not isinstance(error, TransientError | OutcomeUnknown)
    if isinstance(error, for_a_person):
        need_attention(engine, op, str(error))
    elif unexpected and op.failures + 1 >= engine.timing.give_up_after:
        need_attention(engine, op, f"{op.failures + 1} times in a row: {told(error)}")
    else:
        _back_off(engine, op, error)


def never_give_up(engine: Engine, op: Operation, act: Callable[[Engine, Operation], None]) -> None:
    """Do what is left to do for a job that may have ended: no person would be asked about it."""
    try:
        act(engine, op)
    except StaleRecord:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it was, somebody must look again
        _back_off(engine, op, error)


def _back_off(engine: Engine, op: Operation, error: Exception) -> None:
    asked = getattr(error, "retry_after", None)
    now = engine.now()
    with engine.store.write() as tx:
        operations.save(
            tx,
            op,
            at=now,
            due_at=now + retry_delay(op.failures + 1, asked=asked),
            failures=op.failures + 1,
            last_error=told(error),
        )


def told(error: BaseException) -> str:
    """An error in words that may be kept.

    Messages of errors that nobody foresaw may quote rows (pydantic's and a scorer's do), so of
    those only the kind and the place are told.
    """
    if isinstance(error, UnderstudyError):
        return redact(str(error))
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def need_attention(engine: Engine, op: Operation, why: str, **changes: Any) -> None:
    """Park the operation and its job until a person has looked."""
    now = engine.now()
    why = redact(why)
    with engine.store.write() as tx:
        operations.save(tx, op, at=now, due_at=None, last_error=why, **changes)
        if "run" in op.payload:
            batch_shards.attention(tx, op.payload["run"], why, at=now, worker=engine.worker)
            return
        if op.job_id is None:
            return
        if op.kind == "deploy" and op.payload["spec"]["purpose"] == "serving":
            # It is not on the job's way: a person asked for it, and looks at it.
            jobs.note(tx, op.job_id, "deploying", at=now, cause=why, worker=engine.worker)
        else:
            jobs.attention(tx, op.job_id, why, at=now, worker=engine.worker)


def close(
    tx: sa.Connection, engine: Engine, op: Operation, event: Event, *, cause: str, **more: Any
) -> None:
    """End the job with ``event`` and give back what is reserved for it."""
    assert op.job_id is not None
    jobs.apply(tx, op.job_id, event, at=engine.now(), cause=cause, worker=engine.worker, **more)
    release(tx, engine, op.job_id)


def release(tx: sa.Connection, engine: Engine, job_id: str) -> None:
    """Give back every reservation of a job."""
    for kind in ("train", "evaluate"):
        ledger.settle(tx, operation=f"{job_id}.{kind}.1", kind=kind, at=engine.now())
