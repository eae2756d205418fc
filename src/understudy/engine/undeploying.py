"""Taking deployments down, for they are billed by the hour until they are gone.

The ``undeploy`` operation owns a deployment's end. It first closes the operation that started it,
so that nobody sends that again, looks for what an unfinished request may have left, and then asks
until the provider has none. No trouble ends it.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from understudy.backend import SupportsDeploy
from understudy.costs import ledger
from understudy.engine import answers, jobs, operations
from understudy.engine.backoff import poll_interval, retry_delay
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.engine.trouble import told
from understudy.errors import PluginError, StaleRecord
from understudy.model import Absent, DeploymentSpec, Found, Handle, NotYet, RemoteState
from understudy.store.schema import deployments

__all__ = [
    "HOUR",
    "PROOF",
    "TELL_AFTER",
    "deployer",
    "mark",
    "spec_of",
    "step",
    "take_down",
    "undeploy",
]

HOUR = 3600.0
PROOF = "proof"
"""Kind of the ledger's line for the one question that proves a serving deployment."""
_ASK_AGAIN = 12
"""Looks after which the provider is asked once more: it may have dropped the first request."""
TELL_AFTER = 3
"""Failures in a row before the job's history tells a person."""


def undeploy(
    tx: sa.Connection, engine: Engine, deploy_key: str, *, backend: str, job_id: str, at: float
) -> None:
    """Record the intent to take a deployment down at ``at``, or move an earlier one forward."""
    key = f"{deploy_key}.down"
    if not operations.advance(tx, key, due_at=at):
        operations.insert(
            tx,
            key=key,
            kind="undeploy",
            backend=backend,
            at=engine.now(),
            job_id=job_id,
            payload={"deploy": deploy_key},
            due_at=at,
        )


def take_down(tx: sa.Connection, engine: Engine, job_id: str) -> None:
    """The evaluation is over: what was deployed for it goes down now."""
    mine = sa.select(deployments.c.operation, deployments.c.backend).where(
        deployments.c.job_id == job_id,
        deployments.c.purpose == "evaluation",
        deployments.c.state.in_(("starting", "serving")),
    )
    for row in tx.execute(mine).all():
        undeploy(tx, engine, row.operation, backend=row.backend, job_id=job_id, at=engine.now())


def step(engine: Engine, op: Operation) -> None:
    """Ask for it until the provider has none; trouble is tried again for ever."""
    try:
        _take_down(engine, op)
    except StaleRecord:
        raise
    except Exception as error:  # noqa: BLE001 - it is billed by the hour: never give up on it
        _again(engine, op, error)


def _again(engine: Engine, op: Operation, error: Exception) -> None:
    now = engine.now()
    failures = op.failures + 1
    why = told(error)
    wait = retry_delay(failures, asked=getattr(error, "retry_after", None))
    with engine.store.write() as tx:
        operations.save(tx, op, at=now, due_at=now + wait, failures=failures, last_error=why)
        if failures == TELL_AFTER and op.job_id is not None:
            name = spec_of(operations.get(tx, op.payload["deploy"])).name
            jobs.note(
                tx,
                op.job_id,
                "undeploying",
                at=now,
                cause=f"deployment {name} cannot be taken down: {why}. It is tried again until it "
                f"is gone; it may be billed by the hour until then, so look at {op.backend} too",
                worker=engine.worker,
            )


def _take_down(engine: Engine, op: Operation) -> None:
    target = _close(engine, op)
    engine.reach("undeploy.closed")
    backend = deployer(engine, op)
    handle = target.handle or _left_behind(engine, op, target, backend)
    if isinstance(handle, NotYet):
        now = engine.now()
        with engine.store.write() as tx:
            operations.save(tx, op, at=now, due_at=now + handle.retry_after)
        return
    if handle is not None:
        engine.reach("undeploy.before-stop")
        if op.looks % _ASK_AGAIN == 0:
            backend.stop_deployment(handle)
        engine.reach("undeploy.asked")
        if backend.poll_deployment(handle).state is not RemoteState.CANCELLED:
            _look_later(engine, op)
            return
    now = engine.now()
    with engine.store.write() as tx:
        operations.save(tx, op, at=now, status="done", due_at=None)
        _settle(tx, target.key, at=now)
    engine.reach("undeploy.stored")


def _close(engine: Engine, op: Operation) -> Operation:
    """From here on nobody starts it, and nobody counts on it; what started it, as it was left."""
    key = op.payload["deploy"]
    with engine.store.write() as tx:
        # The two rows in the order of their keys, as everybody else takes them.
        operations.close(tx, key, at=engine.now())
        operations.guard(tx, op)
        target = operations.get(tx, key)
        row = tx.execute(_record(key)).mappings().one()
        if row["state"] in {"starting", "serving"}:
            mark(tx, key, state="stopping")
        if row["state"] == "starting" and row["purpose"] == "evaluation" and target.handle:
            _tell_it_was_slow(tx, engine, op, row)
        return target


def _tell_it_was_slow(tx: sa.Connection, engine: Engine, op: Operation, row: sa.RowMapping) -> None:
    """Without a person the next one would be as slow, and be billed as long."""
    assert op.job_id is not None
    hours = (engine.now() - row["created_at"]) / HOUR
    why = (
        f"deployment {row['name']} ({row['sku']}) was not ready after {hours:.1f} hours and is "
        f"taken down; look at {op.backend}'s health and quota, or give [deployment] in the recipe "
        "another evaluation_sku, run the recipe, and retry"
    )
    jobs.attention(tx, op.job_id, why, at=engine.now(), worker=engine.worker)


def _record(key: str) -> sa.Select[Any]:
    return sa.select(deployments).where(deployments.c.operation == key)


def _left_behind(
    engine: Engine, op: Operation, target: Operation, backend: SupportsDeploy
) -> Handle | NotYet | None:
    """What a request without a stored reply has left at the provider."""
    if target.not_after is None or target.status == "failed":
        return None  # nothing was sent, or the provider refused it
    found = backend.find_deployment(spec_of(target), key=target.key)
    now = engine.now()
    if isinstance(found, Found):
        with engine.store.write() as tx:
            operations.guard(tx, op)
            operations.keep_handle(tx, target.key, found.handle)
            mark(tx, target.key, started_at=target.not_after - engine.timing.send_window)
        return found.handle
    capabilities = engine.backends.capabilities(op.backend)
    settled = target.not_after + capabilities.request_timeout + capabilities.list_lag
    if isinstance(found, Absent) and now > settled:
        return None
    again = found.retry_after if isinstance(found, NotYet) else engine.timing.poll_shortest
    return NotYet(retry_after=max(again, settled - now + 1))


def _look_later(engine: Engine, op: Operation) -> None:
    now = engine.now()
    timing = engine.timing
    wait = poll_interval(op.looks, shortest=timing.poll_shortest, longest=timing.poll_longest)
    with engine.store.write() as tx:
        operations.save(tx, op, at=now, due_at=now + wait, looks=op.looks + 1, failures=0)


def _settle(tx: sa.Connection, deploy_key: str, *, at: float) -> None:
    """Book the hours it stood, at its price, as far as this side knows them."""
    row = tx.execute(_record(deploy_key)).mappings().one()
    hours = (at - row["started_at"]) / HOUR if row["started_at"] is not None else 0.0
    if hours > 0:
        ledger.spend(
            tx,
            operation=deploy_key,
            kind="hosting",
            nanos=round(row["hourly_nanos"] * hours),
            note=f"{hours:.2f} hours of {row['name']}, by this side's clock",
        )
    answers.list_lost(tx, deploy_key)
    for kind in ("hosting", PROOF):
        ledger.settle(tx, operation=deploy_key, kind=kind, at=at)
    mark(tx, deploy_key, state="stopped", stopped_at=at)


def mark(tx: sa.Connection, key: str, **changes: Any) -> None:
    """Write to the record of the deployment that ``key`` started."""
    tx.execute(sa.update(deployments).where(deployments.c.operation == key).values(**changes))


def spec_of(op: Operation) -> DeploymentSpec:
    """What a ``deploy`` operation asks for."""
    return DeploymentSpec(**op.payload["spec"])


def deployer(engine: Engine, op: Operation) -> SupportsDeploy:
    """The operation's backend, which deploys.

    Raises:
        PluginError: it does not, though it says so.
    """
    backend = engine.backends.backend(op.backend)
    if not isinstance(backend, SupportsDeploy):
        raise PluginError(
            f"{op.backend} says that it deploys, and does not; report it to its author"
        )
    return backend
