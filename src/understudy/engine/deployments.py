"""Deployments as a person sees them: ours, those of other machines, and strangers'."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import sqlalchemy as sa

from understudy.backend import SupportsDeploy
from understudy.costs.money import from_nanos
from understudy.costs.prices import PriceBook, base_of
from understudy.engine import operations, undeploying
from understudy.engine.context import Backends
from understudy.errors import BackendError, ConfigError, PluginError
from understudy.model import Deployment, Json, RemoteState
from understudy.store import Store, schema
from understudy.validation import nearest

__all__ = [
    "STANDING",
    "DeploymentRecord",
    "deployer_of",
    "found",
    "listing",
    "of_job",
    "record_of",
    "records",
    "stranger",
    "watch",
]

STANDING = ("starting", "serving", "stopping", "failed")
_DAY = 86400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentRecord:
    """A deployment, from the store, from its provider, or from both.

    ``state`` is ``starting``, ``serving``, ``stopping``, ``failed``, ``stopped``, or ``gone``
    where the provider has it no more; ``whose`` is ``ours``, ``orphan`` (it has our tags and this
    store does not know it) or ``foreign``. ``hourly`` is in US dollars, None where no price is
    known; ``problem`` says why it goes no further. Times are seconds since the epoch.
    """

    backend: str
    name: str
    model: str
    version: str | None
    purpose: str | None
    sku: str | None
    capacity: int | None
    state: str
    hourly: Decimal | None
    owner: str | None
    whose: str
    job: str | None = None
    key: str | None = None
    raw: str | None = None
    since: float | None = None
    stopped_at: float | None = None
    delete_by: float | None = None
    idle_since: float | None = None
    deleted_at: float | None = None
    hours: float | None = None
    problem: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it costs nothing any more."""
        return self.state in {"stopped", "gone"}

    def idle_days(self, now: float) -> float | None:
        """Days without a question; None where the provider does not tell."""
        return None if self.idle_since is None else max(now - self.idle_since, 0.0) / _DAY

    def to_json(self) -> dict[str, Json]:
        """The record as JSON; money as a decimal string."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        hourly = None if self.hourly is None else format(self.hourly.normalize(), "f")
        return values | {"hourly": hourly}


def of_job(tx: sa.Connection, job_id: str) -> Iterator[DeploymentRecord]:
    """Every deployment of a job, the oldest first."""
    query = records().where(schema.deployments.c.job_id == job_id)
    for row in tx.execute(query.order_by(schema.deployments.c.created_at)).mappings():
        yield record_of(row)


def records() -> sa.Select[tuple[object, ...]]:
    """Deployments with the model version that each serves."""
    table, models = schema.deployments, schema.models
    same = (models.c.model == table.c.model) & (models.c.backend == table.c.backend)
    newest = sa.select(sa.func.max(models.c.id)).where(same).scalar_subquery()
    return sa.select(table, newest.label("version"))


def record_of(row: sa.RowMapping, *, now: float | None = None) -> DeploymentRecord:
    """One row of ``records``; hours up to ``now`` where it stands."""
    end = row["stopped_at"] or now
    since = row["started_at"]
    hours = None if since is None or end is None else max(end - since, 0.0) / undeploying.HOUR
    return DeploymentRecord(
        backend=row["backend"],
        name=row["name"],
        model=row["model"],
        version=row["version"],
        purpose=row["purpose"],
        sku=row["sku"],
        capacity=row["capacity"],
        state=row["state"],
        hourly=from_nanos(row["hourly_nanos"]),
        owner=row["owner"],
        whose="ours",
        job=row["job_id"],
        key=row["operation"],
        since=since or row["created_at"],
        stopped_at=row["stopped_at"],
        delete_by=row["delete_by"],
        hours=hours,
    )


def listing(
    store: Store,
    backends: Backends,
    prices: PriceBook,
    names: Iterable[str],
    *,
    now: float,
    only: str | None = None,
) -> tuple[list[DeploymentRecord], list[str]]:
    """What stands, as the store and the providers tell it.

    Args:
        store: the store; it may be empty.
        backends: where backends come from.
        prices: for what the store does not know.
        names: backends to ask, beside those that the store has deployments on.
        now: the time.
        only: ask this one alone.

    Returns:
        The deployments, and in words what could not be asked.
    """
    with store.read() as tx:
        rows = tx.execute(records().where(schema.deployments.c.state.in_(STANDING))).mappings()
        known = {row["operation"]: record_of(row, now=now) for row in rows}
    seen: list[DeploymentRecord] = []
    problems: list[str] = []
    asked = dict.fromkeys((*names, *(one.backend for one in known.values())))
    for name in asked if only is None else [only]:
        try:
            backend = deployer_of(backends, name)
            there = list(backend.list_deployments())
        except (BackendError, ConfigError, PluginError) as error:
            problems.append(f"{name} could not be asked for its deployments: {error}")
            seen += [one for one in known.values() if one.backend == name]
            continue
        book = backends.capabilities(name).price_book
        here = {key: one for key, one in known.items() if one.backend == name}
        # Two backends may be set up for one account.
        mine = [one for one in there if one.key in here or one.key not in known]
        seen += _joined(here, mine, backend=name, price=_Price(prices, book))
    return seen, problems


@dataclass(frozen=True, slots=True)
class _Price:
    prices: PriceBook
    book: str

    def of(self, one: Deployment) -> Decimal | None:
        base, tuned = base_of(one.model)
        if not tuned:
            return Decimal(0)
        try:
            return self.prices.hosting_price(self.book, base, one.sku or None).usd_per_hour
        except ConfigError:
            return None


def _joined(
    known: Mapping[str, DeploymentRecord],
    there: Iterable[Deployment],
    *,
    backend: str,
    price: _Price,
) -> Iterator[DeploymentRecord]:
    left = dict(known)
    for one in there:
        ours = left.pop(one.key or "", None)
        if ours is not None:
            yield replace(
                ours,
                raw=one.raw,
                capacity=one.capacity,
                state=_state(one) if ours.state == "serving" else ours.state,
                idle_since=one.idle_since,
                deleted_at=one.deleted_at,
            )
        else:
            yield stranger(one, backend, price.of(one))
    for ours in left.values():
        yield replace(ours, state="gone" if ours.state == "serving" else ours.state)


def stranger(one: Deployment, backend: str, hourly: Decimal | None) -> DeploymentRecord:
    """What a provider shows and this store does not know."""
    return DeploymentRecord(
        backend=backend,
        name=one.name,
        model=one.model,
        version=None,
        purpose=one.purpose,
        sku=one.sku,
        capacity=one.capacity,
        state=_state(one),
        hourly=hourly,
        owner=one.owner,
        whose="orphan" if one.key else "foreign",
        key=one.key,
        raw=one.raw,
        since=one.created_at,
        delete_by=one.delete_by,
        idle_since=one.idle_since,
        deleted_at=one.deleted_at,
    )


def _state(one: Deployment) -> str:
    words = {
        RemoteState.SUCCEEDED: "serving",
        RemoteState.FAILED: "failed",
        RemoteState.CANCELLING: "stopping",
        RemoteState.CANCELLED: "gone",
    }
    return words.get(one.state, "starting")


def deployer_of(backends: Backends, name: str) -> SupportsDeploy:
    """The backend, which deploys.

    Raises:
        ConfigError: it does not.
    """
    support = backends.capabilities(name).deploy
    backend = backends.backend(name) if support.ok else None
    if not isinstance(backend, SupportsDeploy):
        raise ConfigError(f"{name} has no deployments: {support.reason}")
    return backend


def found(tx: sa.Connection, name: str, *, backend: str | None = None) -> DeploymentRecord:
    """The newest deployment of that name that this store knows; a standing one first.

    Raises:
        ConfigError: it knows none, or one on each of several backends.
    """
    table = schema.deployments
    query = records().where(table.c.name == name)
    if backend is not None:
        query = query.where(table.c.backend == backend)
    rows = list(tx.execute(query.order_by(table.c.created_at.desc())).mappings())
    standing = [row for row in rows if row["state"] in STANDING]
    if len({row["backend"] for row in standing}) > 1:
        where = ", ".join(sorted({row["backend"] for row in standing}))
        raise ConfigError(f"{name} stands on several backends ({where}); name one with --backend")
    if not rows:
        names = tx.execute(sa.select(table.c.name)).scalars()
        raise ConfigError(
            f"this store knows no deployment {name!r}: {nearest(name, names)} "
            "`understudy deployments list` shows what the providers have; one that it calls an "
            "orphan is stopped with --backend"
        )
    return record_of((standing or rows)[0])


def watch(tx: sa.Connection, key: str) -> DeploymentRecord:
    """The deployment that the operation ``key`` started, as it stands, with what is wrong."""
    row = tx.execute(records().where(schema.deployments.c.operation == key)).mappings().one()
    return replace(record_of(row), problem=_problem(tx, key, row["state"]))


def _problem(tx: sa.Connection, key: str, state: str) -> str | None:
    op = operations.get(tx, key)
    if op.status == "failed":
        return op.last_error or f"the provider says that it is {op.last_raw!r}"
    if state == "starting" and op.due_at is None:
        return op.last_error
    return None
