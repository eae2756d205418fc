"""What batches cost: reserved with the intent, booked by rows, given back when nothing was run."""

from __future__ import annotations

from decimal import Decimal

import sqlalchemy as sa

from understudy.costs import ledger
from understudy.costs.money import to_nanos
from understudy.engine.batch_shards import Run, Shard
from understudy.engine.context import Engine
from understudy.model import Usage
from understudy.store.schema import ledger as ledger_table

__all__ = ["add", "book", "cost", "cost_nanos", "release", "reserve", "spent"]

_KIND = "batch"
_ACCOUNT_KIND = "evaluate"


def cost(engine: Engine, run: Run, usage: Usage) -> Decimal:
    """US dollars for ``usage`` of the run's model, the way that the run asks it."""
    provider = engine.backends.capabilities(run.backend).price_book
    return engine.prices.inference_cost(
        provider, run.model, usage, batch=run.terms.via == "batch", at=engine.now()
    )


def cost_nanos(engine: Engine, run: Run, usage: Usage) -> int:
    """The same in nano-dollars."""
    return to_nanos(cost(engine, run, usage))


def reserve(tx: sa.Connection, engine: Engine, run: Run, shard: Shard, operation: str) -> None:
    """Set the most that ``shard`` can cost aside for ``operation``.

    Raises:
        BudgetExceeded: less than that is left; nothing was reserved.
    """
    longest = shard.requests * run.terms.max_output_tokens
    nanos = to_nanos(cost(engine, run, Usage(input=shard.tokens, output=longest)), up=True)
    if run.terms.account is not None:
        ledger.cover(tx, operation=run.terms.account, kind=_ACCOUNT_KIND, nanos=nanos)
        return
    ledger.reserve(
        tx,
        budget=run.terms.budget,
        operation=operation,
        job_id=run.owner,
        kind=_KIND,
        nanos=nanos,
        at=engine.now(),
    )


def book(
    tx: sa.Connection, engine: Engine, run: Run, operation: str, nanos: int, *, note: str = ""
) -> None:
    """Book what a batch cost, and give back what is left of its reservation."""
    if run.terms.account is not None:
        ledger.spend(tx, operation=run.terms.account, kind=_ACCOUNT_KIND, nanos=nanos)
        return
    if nanos:
        ledger.spend(tx, operation=operation, kind=_KIND, nanos=nanos, note=note)
    ledger.settle(tx, operation=operation, kind=_KIND, at=engine.now())


def release(tx: sa.Connection, engine: Engine, run: Run, operation: str) -> None:
    """Give the reservation of a batch back of which nothing was run."""
    if run.terms.account is None:
        ledger.settle(tx, operation=operation, kind=_KIND, at=engine.now())


def add(tx: sa.Connection, run: Run, operation: str, nanos: int, *, note: str) -> None:
    """Book something on top of what a batch cost."""
    if run.terms.account is not None:
        ledger.spend(tx, operation=run.terms.account, kind=_ACCOUNT_KIND, nanos=nanos, note=note)
    else:
        ledger.spend(tx, operation=operation, kind=_KIND, nanos=nanos, note=note)


def spent(tx: sa.Connection, shard: Shard) -> int:
    """Nano-dollars that the ledger has for a shard so far, by whatever operations."""
    lines = ledger_table.c.operation.startswith(f"{shard.id}.", autoescape=True)
    query = sa.select(sa.func.coalesce(sa.func.sum(ledger_table.c.spent_nanos), 0)).where(lines)
    return int(tx.execute(query).scalar_one())
