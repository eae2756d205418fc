"""Starting, stopping and scaling deployments for applications, as a person asks for it."""

from __future__ import annotations

import re
from dataclasses import replace

import sqlalchemy as sa

from understudy.engine import deploying, jobs, operations, undeploying
from understudy.engine.context import Backends, Engine
from understudy.engine.deployments import (
    STANDING,
    DeploymentRecord,
    deployer_of,
    record_of,
    records,
    stranger,
    watch,
)
from understudy.errors import ConfigError
from understudy.model import DeploymentSpec
from understudy.store import registry, schema
from understudy.validation import nearest

__all__ = ["scale", "settled", "start", "stop", "stop_orphan"]


def start(
    engine: Engine,
    version: registry.ModelVersion,
    *,
    sku: str | None = None,
    capacity: int | None = None,
    hours: float | None = None,
) -> tuple[DeploymentRecord, bool]:
    """Deploy a model version for applications; the hosting is paid from its job's budget.

    Args:
        engine: the engine.
        version: the model version.
        sku: default: the backend's for serving.
        capacity: in the provider's units; default: the provider's.
        hours: after which it is taken down; without, it stands until it is stopped, and one
            day of hosting is reserved.

    Returns:
        The deployment, and whether it is new.

    Raises:
        BudgetExceeded: its job's budget has less left than those hours cost.
        ConfigError: the backend does not deploy, or the price of the sku is not known.
    """
    deployer_of(engine.backends, version.backend)
    skus = engine.backends.capabilities(version.backend).default_skus
    job_id = str(version.lineage["job"])
    now = engine.now()
    with engine.store.write() as tx:
        operations.lock_job(tx, job_id)
        present = _serving(tx, version)
        if present is not None:
            operations.wake(tx, str(present.key), at=now)
            return present, False
        spec = DeploymentSpec(
            name=_free_name(tx, version, job_id),
            model=version.model,
            base_model=version.base_model,
            purpose="serving",
            owner=engine.worker,
            sku=sku or skus.get("serving"),
            capacity=capacity,
            delete_by=None if hours is None else now + hours * undeploying.HOUR,
        )
        job = jobs.get(tx, job_id)
        key = deploying.intend(tx, engine, spec, backend=version.backend, job=job)
        return watch(tx, key), True


def _free_name(tx: sa.Connection, version: registry.ModelVersion, job_id: str) -> str:
    """The version's name; another where one of that name is not quite gone yet."""
    name = re.sub(r"[^a-z0-9-]+", "-", f"{version.name}-{version.version}".lower())
    table = schema.deployments
    taken = sa.select(table.c.name).where(table.c.name == name, table.c.state.in_(STANDING))
    if tx.execute(taken).first() is None:
        return name
    return f"{name}-{deploying.next_number(tx, job_id)}"


def _serving(tx: sa.Connection, version: registry.ModelVersion) -> DeploymentRecord | None:
    table = schema.deployments
    query = records().where(
        table.c.model == version.model,
        table.c.backend == version.backend,
        table.c.purpose == "serving",
        table.c.state.in_(("starting", "serving")),
    )
    row = tx.execute(query).mappings().first()
    return None if row is None else record_of(row)


def settled(tx: sa.Connection, key: str, *, wanted: str) -> bool:
    """Whether a deployment is ``wanted`` (``serving`` or ``stopped``), or needs a person first."""
    one = watch(tx, key)
    down = schema.operations.c.key == f"{key}.down"
    failures = tx.execute(sa.select(schema.operations.c.failures).where(down)).scalar() or 0
    parked = one.state == "starting" and one.problem is not None
    return one.state in {wanted, "stopped"} or parked or failures >= undeploying.TELL_AFTER


def stop(engine: Engine, record: DeploymentRecord) -> None:
    """Take a deployment of ours down now; its model version stays, and can be deployed again."""
    assert record.key is not None
    assert record.job is not None
    with engine.store.write() as tx:
        operations.lock_job(tx, record.job)
        undeploying.undeploy(
            tx, engine, record.key, backend=record.backend, job_id=record.job, at=engine.now()
        )


def stop_orphan(backends: Backends, name: str, *, backend: str) -> DeploymentRecord:
    """Take down what another machine left: one request, and no operation, for it is not ours.

    Raises:
        ConfigError: there is none of that name, or Understudy did not make it.
    """
    deployer = deployer_of(backends, backend)
    there = {one.name: one for one in deployer.list_deployments()}
    if name not in there:
        raise ConfigError(f"{backend} has no deployment {name!r}: {nearest(name, there)}")
    one = there[name]
    if one.key is None:
        raise ConfigError(
            f"{name} at {backend} was not made by Understudy, so it is left alone; stop it there"
        )
    deployer.stop_deployment(one.handle)
    return replace(stranger(one, backend, None), state="stopping")


def scale(engine: Engine, record: DeploymentRecord, capacity: int) -> None:
    """Ask for another capacity.

    Raises:
        ConfigError: it does not serve.
    """
    assert record.key is not None
    if record.state != "serving":
        raise ConfigError(f"{record.name} is {record.state}; only one that serves can be scaled")
    with engine.store.read() as tx:
        handle = operations.get(tx, record.key).handle
    assert handle is not None
    deployer_of(engine.backends, record.backend).scale_deployment(handle, capacity)
    with engine.store.write() as tx:
        undeploying.mark(tx, record.key, capacity=capacity)
