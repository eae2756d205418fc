"""The ledger: reserve an upper bound before money is spent, settle on what was spent.

Amounts are integer nano-dollars. Every function runs inside the caller's transaction, so that a
reservation and the intent that it covers are committed together. The budget's two counters are
changed by a single conditional UPDATE, which is what stops two workers from overspending.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import sqlalchemy as sa

from understudy.costs.money import from_nanos
from understudy.errors import BudgetExceeded
from understudy.model import Json
from understudy.store.dialect import insert
from understudy.store.schema import budgets, ledger, repaid

__all__ = [
    "BudgetState",
    "budget_state",
    "cover",
    "entries",
    "open_budget",
    "possible_repayments",
    "reserve",
    "settle",
    "spend",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetState:
    """A budget as it stands, in US dollars."""

    name: str
    limit: Decimal
    spent: Decimal
    reserved: Decimal

    @property
    def left(self) -> Decimal:
        """What can still be reserved."""
        return self.limit - self.spent - self.reserved

    def require(self, amount: Decimal) -> None:
        """Raise ``BudgetExceeded`` unless ``amount`` US dollars are left."""
        if amount > self.left:
            raise BudgetExceeded(
                budget=self.name,
                limit=self.limit,
                spent=self.spent,
                reserved=self.reserved,
                asked=amount,
            )


def open_budget(tx: sa.Connection, *, name: str, limit_nanos: int) -> None:
    """Make the budget, or give it a new limit; what was spent and reserved stays."""
    tx.execute(
        insert(tx, budgets)
        .values(name=name, limit_nanos=limit_nanos)
        .on_conflict_do_update(index_elements=["name"], set_={"limit_nanos": limit_nanos})
    )


def budget_state(tx: sa.Connection, name: str) -> BudgetState | None:
    """The budget as it stands, or None where there is none of that name."""
    row = tx.execute(sa.select(budgets).where(budgets.c.name == name)).mappings().first()
    if row is None:
        return None
    return BudgetState(
        name=name,
        limit=from_nanos(row["limit_nanos"]),
        spent=from_nanos(row["spent_nanos"]),
        reserved=from_nanos(row["reserved_nanos"]),
    )


def reserve(
    tx: sa.Connection,
    *,
    budget: str,
    operation: str,
    job_id: str | None,
    kind: str,
    nanos: int,
    at: float,
) -> None:
    """Set ``nanos`` aside for an operation. Reserving the same one again changes nothing.

    Raises:
        BudgetExceeded: less than that is left; nothing was reserved.
    """
    same = (ledger.c.operation == operation) & (ledger.c.kind == kind)
    if tx.execute(sa.select(ledger.c.id).where(same)).first() is not None:
        return
    _set_aside(tx, budget, nanos)
    tx.execute(
        sa.insert(ledger).values(
            budget=budget,
            operation=operation,
            job_id=job_id,
            kind=kind,
            status="reserved",
            reserved_nanos=nanos,
            spent_nanos=0,
            note="",
            at=at,
        )
    )


def _set_aside(tx: sa.Connection, budget: str, nanos: int) -> None:
    used = budgets.c.reserved_nanos + budgets.c.spent_nanos
    taken = tx.execute(
        sa.update(budgets)
        .where(budgets.c.name == budget, used + nanos <= budgets.c.limit_nanos)
        .values(reserved_nanos=budgets.c.reserved_nanos + nanos)
    )
    if taken.rowcount != 1:
        state = budget_state(tx, budget)
        assert state is not None, budget
        raise BudgetExceeded(
            budget=budget,
            limit=state.limit,
            spent=state.spent,
            reserved=state.reserved,
            asked=from_nanos(nanos),
        )


def cover(tx: sa.Connection, *, operation: str, kind: str, nanos: int) -> None:
    """See to it that at least ``nanos`` are set aside for an operation that has a reservation.

    Raises:
        BudgetExceeded: what is missing is more than is left; nothing was reserved.
    """
    row = _line(tx, operation, kind)
    assert row is not None, (operation, kind)
    missing = nanos - row["reserved_nanos"]
    if missing > 0:
        _set_aside(tx, row["budget"], missing)
        tx.execute(sa.update(ledger).where(ledger.c.id == row["id"]).values(reserved_nanos=nanos))


def _line(tx: sa.Connection, operation: str, kind: str) -> sa.RowMapping | None:
    query = sa.select(ledger).where(ledger.c.operation == operation, ledger.c.kind == kind)
    return tx.execute(query.with_for_update()).mappings().first()


def spend(tx: sa.Connection, *, operation: str, kind: str, nanos: int, note: str = "") -> None:
    """Book ``nanos`` as spent, out of what was reserved for the operation."""
    row = _line(tx, operation, kind)
    assert row is not None, (operation, kind)
    covered = min(nanos, row["reserved_nanos"])
    tx.execute(
        sa.update(ledger)
        .where(ledger.c.id == row["id"])
        .values(
            reserved_nanos=row["reserved_nanos"] - covered,
            spent_nanos=row["spent_nanos"] + nanos,
            note=note or row["note"],
        )
    )
    _move(tx, row["budget"], reserved=-covered, spent=nanos)


def settle(tx: sa.Connection, *, operation: str, kind: str, at: float) -> None:
    """Give back what is still reserved. Settling again changes nothing."""
    row = _line(tx, operation, kind)
    if row is None or row["status"] == "settled":
        return
    tx.execute(
        sa.update(ledger)
        .where(ledger.c.id == row["id"])
        .values(status="settled", reserved_nanos=0, settled_at=at)
    )
    _move(tx, row["budget"], reserved=-row["reserved_nanos"], spent=0)


def _move(tx: sa.Connection, budget: str, *, reserved: int, spent: int) -> None:
    tx.execute(
        sa.update(budgets)
        .where(budgets.c.name == budget)
        .values(
            reserved_nanos=budgets.c.reserved_nanos + reserved,
            spent_nanos=budgets.c.spent_nanos + spent,
        )
    )


def entries(tx: sa.Connection, *, job_id: str | None = None) -> list[dict[str, Json]]:
    """Ledger lines, oldest first; amounts in US dollars."""
    query = sa.select(ledger).order_by(ledger.c.id)
    if job_id is not None:
        query = query.where(ledger.c.job_id == job_id)
    return [
        {
            "budget": row["budget"],
            "operation": row["operation"],
            "job_id": row["job_id"],
            "kind": row["kind"],
            "status": row["status"],
            "reserved_usd": from_nanos(row["reserved_nanos"]),
            "spent_usd": from_nanos(row["spent_nanos"]),
            "note": row["note"],
        }
        for row in tx.execute(query).mappings()
    ]


def possible_repayments(tx: sa.Connection, *, job_id: str | None = None) -> list[dict[str, Json]]:
    """Live completions whose answer was lost in a crash and which were asked again.

    Each may have been billed twice, at most for ``at_most_usd``; the provider's bill says
    whether it was.
    """
    query = sa.select(repaid).order_by(repaid.c.id)
    if job_id is not None:
        query = query.where(repaid.c.operation.startswith(f"{job_id}."))
    return [
        {
            "operation": row["operation"],
            "fingerprint": row["fingerprint"],
            "at_most_usd": from_nanos(row["at_most_nanos"]),
        }
        for row in tx.execute(query).mappings()
    ]
