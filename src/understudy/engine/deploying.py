"""Deployments: where a model answers only through an endpoint that is billed by the hour.

An evaluation's deployment is started when a question is to be asked, once and only once (see
sending.py), and in the same transaction in which its handle is stored the intent to take it down
is stored too: due when the evaluation has ended, and at ``delete_by`` at the latest. So no job
that is stuck, killed or forgotten leaves anything behind as long as one worker runs; what is left
without a worker carries owner and ``delete_by`` as tags at the provider.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from understudy.backend import FindResult, SupportsDeploy
from understudy.costs import ledger
from understudy.costs.money import to_nanos
from understudy.engine import jobs, operations, sending
from understudy.engine.backoff import retry_delay
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.engine.trouble import need_attention
from understudy.errors import BackendError, PluginError, StaleRecord
from understudy.model import DeploymentSpec, Handle, ModelRef, RemoteState
from understudy.secrets import redact
from understudy.states import TERMINAL, State
from understudy.store.schema import deployments

__all__ = ["Serving", "intend", "names", "step", "take_down", "undeploy"]

_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """What to ask for a model: a deployment and its sku, or the model itself."""

    name: str
    sku: str | None = None


def names(
    engine: Engine, op: Operation, job: jobs.JobRecord, refs: Sequence[ModelRef]
) -> dict[str, Serving] | None:
    """What to ask, by model id; None where ``op`` now waits until a deployment serves."""
    found = {ref.id: _serving(engine, ref) for ref in refs}
    missing = [ref for ref in refs if found[ref.id] is None]
    if not missing:
        return {name: serving for name, serving in found.items() if serving is not None}
    now = engine.now()
    with engine.store.write() as tx:
        if jobs.get(tx, job.id).state is State.NEEDS_ATTENTION:
            operations.save(tx, op, at=now, due_at=None)
            return None
        for ref in missing:
            if not _starting(tx, ref):
                spec = _wanted(engine, tx, job, ref)
                intend(tx, engine, spec, backend=ref.backend, job=job)
        operations.save(tx, op, at=now, due_at=now + engine.timing.poll_shortest)
    return None


def _serving(engine: Engine, ref: ModelRef) -> Serving | None:
    if not engine.backends.capabilities(ref.backend).deploy.ok:
        return Serving(name=ref.id)
    with engine.store.read() as tx:
        row = tx.execute(_of(ref, "serving")).mappings().first()
    return None if row is None else Serving(name=row["serves_as"], sku=row["sku"])


def _of(ref: ModelRef, state: str) -> sa.Select[Any]:
    return sa.select(deployments).where(
        deployments.c.backend == ref.backend,
        deployments.c.model == ref.id,
        deployments.c.state == state,
    )


def _starting(tx: sa.Connection, ref: ModelRef) -> bool:
    return tx.execute(_of(ref, "starting")).first() is not None


def _wanted(
    engine: Engine, tx: sa.Connection, job: jobs.JobRecord, ref: ModelRef
) -> DeploymentSpec:
    """The evaluation's deployment, under a name that no other one has."""
    wish = job.plan.deployment
    taken = sa.select(sa.func.count()).where(deployments.c.job_id == job.id)
    number = tx.execute(taken.select_from(deployments)).scalar_one() + 1
    skus = engine.backends.capabilities(ref.backend).default_skus
    return DeploymentSpec(
        name=f"understudy-{job.id.removeprefix('job-')}-{number}",
        model=ref.id,
        base_model=ref.base_model,
        purpose="evaluation",
        owner=engine.worker,
        sku=wish.evaluation_sku or skus.get("evaluation"),
        capacity=wish.capacity,
        delete_by=engine.now() + wish.evaluation_hours * _HOUR,
    )


def intend(
    tx: sa.Connection,
    engine: Engine,
    spec: DeploymentSpec,
    *,
    backend: str,
    job: jobs.JobRecord,
) -> str:
    """Reserve the hosting up to ``delete_by`` and record the intent; the operation's key.

    Raises:
        BudgetExceeded: the hosting costs more than is left.
    """
    now = engine.now()
    key = f"{job.id}.deploy.{spec.name.rpartition('-')[2]}"
    hours = 0.0 if spec.delete_by is None else max(spec.delete_by - now, 0.0) / _HOUR
    hourly = _hourly(engine, backend, spec)
    ledger.reserve(
        tx,
        budget=job.budget,
        operation=key,
        job_id=job.id,
        kind="hosting",
        nanos=to_nanos(hourly * Decimal(str(round(hours, 6))), up=True),
        at=now,
    )
    operations.insert(
        tx,
        key=key,
        kind="deploy",
        backend=backend,
        at=now,
        job_id=job.id,
        payload={"spec": asdict(spec)},
    )
    tx.execute(
        sa.insert(deployments).values(
            operation=key,
            job_id=job.id,
            backend=backend,
            name=spec.name,
            serves_as=spec.name,
            model=spec.model,
            base_model=spec.base_model,
            purpose=spec.purpose,
            sku=spec.sku,
            capacity=spec.capacity,
            owner=spec.owner,
            hourly_nanos=to_nanos(hourly),
            delete_by=spec.delete_by,
            state="starting",
            created_at=now,
        )
    )
    return key


def _hourly(engine: Engine, backend: str, spec: DeploymentSpec) -> Decimal:
    provider = engine.backends.capabilities(backend).price_book
    return engine.prices.hosting_price(provider, spec.base_model, spec.sku).usd_per_hour


class DeployStarter:
    """The deployment's part of the sending protocol."""

    def send(self, engine: Engine, op: Operation) -> Handle:
        """One request."""
        return _backend(engine, op).start_deployment(_spec(op), key=op.key)

    def find(self, engine: Engine, op: Operation) -> FindResult | None:
        """By name and tag."""
        return _backend(engine, op).find_deployment(_spec(op), key=op.key)

    def started(self, tx: sa.Connection, engine: Engine, op: Operation, how: str) -> None:
        """Store the intent to take it down along with its handle."""
        assert op.job_id is not None
        now = engine.now()
        spec = _spec(op)
        _mark(tx, op.key, started_at=now)
        if spec.delete_by is not None:
            undeploy(tx, engine, op.key, backend=op.backend, job_id=op.job_id, at=spec.delete_by)
        jobs.note(
            tx,
            op.job_id,
            "deploying",
            at=now,
            cause=f"deployment {spec.name} ({spec.sku}) {how}",
            fields={"name": spec.name, "sku": spec.sku, "purpose": spec.purpose},
            worker=engine.worker,
        )

    def refused(self, tx: sa.Connection, engine: Engine, op: Operation, why: BackendError) -> None:
        """The provider will not have it: a person must change the sku, the quota or the region."""
        _failed(tx, engine, op, str(why))

    def stuck(self, engine: Engine, op: Operation, why: str, **changes: Any) -> None:
        """To needs_attention."""
        need_attention(engine, op, why, **changes)

    def never_started(self, tx: sa.Connection, engine: Engine, op: Operation) -> bool:
        """A job that ended meanwhile needs no deployment for its evaluation."""
        assert op.job_id is not None
        unwanted = _spec(op).purpose == "evaluation" and jobs.get(tx, op.job_id).state in TERMINAL
        if unwanted:
            _mark(tx, op.key, state="stopped", stopped_at=engine.now())
            ledger.settle(tx, operation=op.key, kind="hosting", at=engine.now())
        return unwanted

    def surplus(self, engine: Engine, op: Operation, extra: Handle) -> None:
        """A name holds one deployment, so a second create only repeats the first."""


STARTER = DeployStarter()


def step(engine: Engine, op: Operation) -> None:
    """Start, recover, or look whether it serves."""
    if op.status == "intended":
        sending.start(engine, STARTER, op)
    elif op.status == "sending":
        sending.recover(engine, STARTER, op)
    else:
        _look(engine, op)


def _look(engine: Engine, op: Operation) -> None:
    assert op.handle is not None
    status = _backend(engine, op).poll_deployment(op.handle)
    now = engine.now()
    with engine.store.write() as tx:
        if status.state is RemoteState.SUCCEEDED:
            operations.save(tx, op, at=now, status="done", due_at=None, last_raw=status.raw)
            _mark(tx, op.key, state="serving", serves_as=status.model or _spec(op).name)
        elif status.state.terminal:
            why = status.problem.message if status.problem else f"it is {status.raw!r}"
            operations.save(tx, op, at=now, status="failed", due_at=None, last_raw=status.raw)
            _failed(tx, engine, op, why)
        else:
            operations.save(
                tx,
                op,
                at=now,
                due_at=now + engine.timing.poll_shortest,
                looks=op.looks + 1,
                failures=0,
                last_raw=status.raw,
            )


def _failed(tx: sa.Connection, engine: Engine, op: Operation, why: str) -> None:
    assert op.job_id is not None
    now = engine.now()
    _mark(tx, op.key, state="failed", stopped_at=now)
    message = redact(f"deployment {_spec(op).name} was not made: {why}")
    jobs.attention(tx, op.job_id, message, at=now, worker=engine.worker)
    # A failed deployment may still stand at the provider, and be billed.
    undeploy(tx, engine, op.key, backend=op.backend, job_id=op.job_id, at=now)


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


def take_down_step(engine: Engine, op: Operation) -> None:
    """Ask for it until the provider has none; trouble is tried again for ever."""
    try:
        _take_down(engine, op)
    except StaleRecord:
        raise
    except Exception as error:  # noqa: BLE001 - it is billed by the hour: never give up on it
        now = engine.now()
        with engine.store.write() as tx:
            operations.save(
                tx,
                op,
                at=now,
                due_at=now
                + retry_delay(op.failures + 1, asked=getattr(error, "retry_after", None)),
                failures=op.failures + 1,
                last_error=redact(f"{type(error).__name__}: {error}"),
            )


def _take_down(engine: Engine, op: Operation) -> None:
    deploy_key = op.payload["deploy"]
    with engine.store.read() as tx:
        handle = operations.get(tx, deploy_key).handle
    backend = _backend(engine, op)
    now = engine.now()
    if handle is not None:
        if op.looks == 0:
            backend.stop_deployment(handle)
        status = backend.poll_deployment(handle)
        if status.state is not RemoteState.CANCELLED:
            with engine.store.write() as tx:
                operations.save(
                    tx, op, at=now, due_at=now + engine.timing.poll_shortest, looks=op.looks + 1
                )
            return
    with engine.store.write() as tx:
        operations.save(tx, op, at=now, status="done", due_at=None)
        _settle(tx, deploy_key, at=now)


def _settle(tx: sa.Connection, deploy_key: str, *, at: float) -> None:
    """Book the hours it stood, at its price, as far as this side knows them."""
    query = sa.select(deployments).where(deployments.c.operation == deploy_key)
    row = tx.execute(query).mappings().one()
    hours = (at - row["started_at"]) / _HOUR if row["started_at"] is not None else 0.0
    ledger.spend(
        tx,
        operation=deploy_key,
        kind="hosting",
        nanos=round(row["hourly_nanos"] * max(hours, 0.0)),
        note=f"{hours:.2f} hours of {row['name']}, by this side's clock",
    )
    ledger.settle(tx, operation=deploy_key, kind="hosting", at=at)
    _mark(tx, deploy_key, state="stopped", stopped_at=at)


def _mark(tx: sa.Connection, key: str, **changes: Any) -> None:
    tx.execute(sa.update(deployments).where(deployments.c.operation == key).values(**changes))


def _spec(op: Operation) -> DeploymentSpec:
    return DeploymentSpec(**op.payload["spec"])


def _backend(engine: Engine, op: Operation) -> SupportsDeploy:
    backend = engine.backends.backend(op.backend)
    if not isinstance(backend, SupportsDeploy):
        raise PluginError(
            f"{op.backend} says that it deploys, and does not; report it to its author"
        )
    return backend
