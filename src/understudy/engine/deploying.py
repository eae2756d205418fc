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

from understudy.backend import FindResult
from understudy.costs import ledger
from understudy.costs.money import to_nanos
from understudy.engine import jobs, operations, proving, sending, undeploying
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.engine.trouble import need_attention
from understudy.engine.undeploying import deployer, mark, spec_of, undeploy
from understudy.errors import BackendError, Unavailable
from understudy.model import DeploymentSpec, Handle, ModelRef, RemoteState
from understudy.secrets import redact
from understudy.states import TERMINAL, State
from understudy.store.schema import deployments

__all__ = ["Serving", "intend", "lost", "names", "next_number", "step"]

_UNBOUNDED = 24.0
"""Hours that are reserved for a deployment without an end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """What to ask for a model: a deployment and its sku, or the model itself.

    ``operation`` is the key of what started the deployment; ``proven`` whether it has answered.
    """

    name: str
    sku: str | None = None
    operation: str | None = None
    proven: bool = True


def names(
    engine: Engine, op: Operation, job: jobs.JobRecord, refs: Sequence[ModelRef]
) -> dict[str, Serving] | None:
    """What to ask, by model id; None where ``op`` now waits until a deployment serves."""
    found = {ref.id: _serving(engine, job, ref) for ref in refs}
    missing = [ref for ref in refs if found[ref.id] is None]
    if not missing:
        return {name: serving for name, serving in found.items() if serving is not None}
    now = engine.now()
    with engine.store.write() as tx:
        if jobs.get(tx, job.id).state is State.NEEDS_ATTENTION:
            operations.save(tx, op, at=now, due_at=None)
            return None
        for ref in missing:
            # One for applications may need a person before it serves: it is not waited for.
            own = _of(job, ref, "starting").where(deployments.c.purpose == "evaluation")
            if tx.execute(own).first() is None:
                spec = _wanted(engine, tx, job, ref)
                intend(tx, engine, spec, backend=ref.backend, job=job)
        operations.save(tx, op, at=now, due_at=now + engine.timing.poll_shortest)
    return None


def _serving(engine: Engine, job: jobs.JobRecord, ref: ModelRef) -> Serving | None:
    if not engine.backends.capabilities(ref.backend).deploy.ok:
        return Serving(name=ref.id)
    with engine.store.read() as tx:
        row = tx.execute(_of(job, ref, "serving")).mappings().first()
    if row is None:
        return None
    return Serving(
        name=row["serves_as"],
        sku=row["sku"],
        operation=row["operation"],
        proven=row["answered_at"] is not None,
    )


def _of(job: jobs.JobRecord, ref: ModelRef, state: str) -> sa.Select[Any]:
    """Deployments of a model that ``job`` may count on.

    Another job's goes down when that job has ended, which may be in the middle of this one.
    """
    mine = (deployments.c.job_id == job.id) | (deployments.c.purpose == "serving")
    return sa.select(deployments).where(
        deployments.c.backend == ref.backend,
        deployments.c.model == ref.id,
        deployments.c.state == state,
        mine,
    )


def lost(engine: Engine, job: jobs.JobRecord, serving: Serving, why: Exception) -> None:
    """A model that was asked through a deployment is not there: is the deployment?

    Raises:
        Unavailable: it is gone and will be made again, or is not ready yet.
    """
    if serving.operation is None:
        return
    with engine.store.read() as tx:
        deploy = operations.get(tx, serving.operation)
        since = tx.execute(_record(deploy.key)).mappings().one()["serving_at"]
    assert deploy.handle is not None
    status = deployer(engine, deploy).poll_deployment(deploy.handle)
    now = engine.now()
    if status.state is RemoteState.SUCCEEDED and now - (since or 0.0) > proving.READY_WITHIN:
        return
    if status.state not in {RemoteState.CANCELLED, RemoteState.FAILED}:
        raise Unavailable(f"deployment {serving.name} does not answer yet: {why}") from None
    cause = f"deployment {serving.name} is gone ({status.raw}); it is made again"
    with engine.store.write() as tx:
        mark(tx, deploy.key, state="stopping")
        undeploy(
            tx, engine, deploy.key, backend=deploy.backend, job_id=deploy.job_id or job.id, at=now
        )
        jobs.note(tx, job.id, "deploying", at=now, cause=cause, worker=engine.worker)
    raise Unavailable(cause) from None


def _record(key: str) -> sa.Select[Any]:
    return sa.select(deployments).where(deployments.c.operation == key)


def _wanted(
    engine: Engine, tx: sa.Connection, job: jobs.JobRecord, ref: ModelRef
) -> DeploymentSpec:
    """The evaluation's deployment, under a name that no other one has."""
    wish = job.plan.deployment
    skus = engine.backends.capabilities(ref.backend).default_skus
    return DeploymentSpec(
        name=f"understudy-{job.id.removeprefix('job-')}-{next_number(tx, job.id)}",
        model=ref.id,
        base_model=ref.base_model,
        purpose="evaluation",
        owner=engine.worker,
        sku=wish.evaluation_sku or skus.get("evaluation"),
        capacity=wish.capacity,
        delete_by=engine.now() + wish.evaluation_hours * undeploying.HOUR,
    )


def next_number(tx: sa.Connection, job_id: str) -> int:
    """The number of a job's next deployment, from 1."""
    taken = sa.select(sa.func.count()).where(deployments.c.job_id == job_id)
    return tx.execute(taken.select_from(deployments)).scalar_one() + 1


def intend(
    tx: sa.Connection,
    engine: Engine,
    spec: DeploymentSpec,
    *,
    backend: str,
    job: jobs.JobRecord,
) -> str:
    """Reserve the hosting up to ``delete_by`` and record the intent; the operation's key.

    Without ``delete_by`` one day is reserved, and what it costs in the end is booked.

    Raises:
        BudgetExceeded: the hosting costs more than is left.
    """
    now = engine.now()
    key = f"{job.id}.deploy.{next_number(tx, job.id)}"
    end = now + undeploying.HOUR * _UNBOUNDED if spec.delete_by is None else spec.delete_by
    hours = max(end - now, 0.0) / undeploying.HOUR
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
    values = {
        **asdict(spec),
        "operation": key,
        "job_id": job.id,
        "backend": backend,
        "serves_as": spec.name,
        "hourly_nanos": to_nanos(hourly),
        "state": "starting",
        "created_at": now,
    }
    tx.execute(sa.insert(deployments).values(**values))
    return key


def _hourly(engine: Engine, backend: str, spec: DeploymentSpec) -> Decimal:
    provider = engine.backends.capabilities(backend).price_book
    return engine.prices.hosting_price(provider, spec.base_model, spec.sku).usd_per_hour


class DeployStarter:
    """The deployment's part of the sending protocol."""

    def send(self, engine: Engine, op: Operation) -> Handle:
        """One request."""
        return deployer(engine, op).start_deployment(spec_of(op), key=op.key)

    def find(self, engine: Engine, op: Operation) -> FindResult | None:
        """By name and tag."""
        return deployer(engine, op).find_deployment(spec_of(op), key=op.key)

    def started(self, tx: sa.Connection, engine: Engine, op: Operation, how: str) -> None:
        """Store the intent to take it down along with its handle."""
        assert op.job_id is not None
        now = engine.now()
        spec = spec_of(op)
        # It may be billed since its request went out, whenever the reply came or it was found.
        sent = operations.get(tx, op.key).not_after
        mark(tx, op.key, started_at=now if sent is None else sent - engine.timing.send_window)
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
        """An evaluation's is not started for a job that has ended, or after its own day."""
        assert op.job_id is not None
        spec = spec_of(op)
        late = spec.delete_by is not None and engine.now() >= spec.delete_by
        ended = spec.purpose == "evaluation" and jobs.get(tx, op.job_id).state in TERMINAL
        if late or ended:
            mark(tx, op.key, state="stopped", stopped_at=engine.now())
            ledger.settle(tx, operation=op.key, kind="hosting", at=engine.now())
        return late or ended

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
    status = deployer(engine, op).poll_deployment(op.handle)
    engine.reach("deploy.poll")
    spec = spec_of(op)
    serves_as = status.model or spec.name
    if status.state is RemoteState.SUCCEEDED and spec.purpose == "serving":
        proving.prove(engine, op, serves_as)
    now = engine.now()
    with engine.store.write() as tx:
        if status.state is RemoteState.SUCCEEDED:
            operations.save(tx, op, at=now, status="done", due_at=None, last_raw=status.raw)
            mark(tx, op.key, state="serving", serves_as=serves_as, serving_at=now)
            ledger.settle(tx, operation=op.key, kind=undeploying.PROOF, at=now)
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
    spec = spec_of(op)
    mark(tx, op.key, state="failed", stopped_at=now)
    message = redact(f"deployment {spec.name} was not made: {why}")
    if spec.purpose == "evaluation":
        jobs.attention(tx, op.job_id, message, at=now, worker=engine.worker)
    else:
        jobs.note(tx, op.job_id, "deploying", at=now, cause=message, worker=engine.worker)
    # A failed deployment may still stand at the provider, and be billed.
    undeploy(tx, engine, op.key, backend=op.backend, job_id=op.job_id, at=now)
