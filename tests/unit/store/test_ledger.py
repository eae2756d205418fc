from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from understudy.costs import ledger
from understudy.errors import BudgetExceeded
from understudy.store import Store, schema


def open_budget(store: Store, limit: int = 100, name: str = "b") -> None:
    with store.write() as tx:
        ledger.open_budget(tx, name=name, limit_nanos=limit)


def reserve(tx: sa.Connection, operation: str, nanos: int, **more: Any) -> None:
    values = {"budget": "b", "job_id": None, "kind": "train", "at": 1.0} | more
    ledger.reserve(tx, operation=operation, nanos=nanos, **values)


def counters(store: Store, name: str = "b") -> tuple[int, int]:
    with store.read() as tx:
        row = tx.execute(sa.select(schema.budgets).where(schema.budgets.c.name == name)).one()
    return row.reserved_nanos, row.spent_nanos


def test_reserve_spend_settle(store: Store) -> None:
    open_budget(store)
    with store.write() as tx:
        reserve(tx, "op", 60)
    assert counters(store) == (60, 0)
    with store.write() as tx:
        ledger.spend(tx, operation="op", kind="train", nanos=25, note="25 tokens")
    assert counters(store) == (35, 25)
    with store.write() as tx:
        ledger.settle(tx, operation="op", kind="train", at=2.0)
        ledger.settle(tx, operation="op", kind="train", at=3.0)
    assert counters(store) == (0, 25)
    with store.read() as tx:
        (line,) = ledger.entries(tx)
        state = ledger.budget_state(tx, "b")
    assert (line["status"], line["note"], line["spent_usd"]) == (
        "settled",
        "25 tokens",
        Decimal("0.000000025"),
    )
    assert state is not None
    assert state.left == Decimal("0.000000075")


def test_reserving_twice_changes_nothing(store: Store) -> None:
    open_budget(store)
    for nanos in (60, 60, 99):
        with store.write() as tx:
            reserve(tx, "op", nanos)
    assert counters(store) == (60, 0)


def test_the_kinds_of_one_operation_are_apart(store: Store) -> None:
    open_budget(store)
    with store.write() as tx:
        reserve(tx, "op", 40)
        reserve(tx, "op", 30, kind="evaluate")
        ledger.settle(tx, operation="op", kind="train", at=1.0)
    assert counters(store) == (30, 0)


def test_what_is_too_much_is_refused_with_the_sums(store: Store) -> None:
    open_budget(store, 2_000_000_000)
    with store.write() as tx:
        reserve(tx, "one", 1_500_000_000)
    with pytest.raises(BudgetExceeded, match="budget 'b'") as caught, store.write() as tx:
        reserve(tx, "two", 500_000_001)
    error = caught.value
    assert (error.limit, error.reserved, error.asked) == (
        Decimal(2),
        Decimal("1.5"),
        Decimal("0.500000001"),
    )
    assert counters(store) == (1_500_000_000, 0)
    with store.write() as tx:
        reserve(tx, "two", 500_000_000)
    assert counters(store) == (2_000_000_000, 0)


def test_a_refusal_takes_the_whole_transaction_back(store: Store) -> None:
    open_budget(store)
    with pytest.raises(BudgetExceeded), store.write() as tx:
        reserve(tx, "one", 60)
        reserve(tx, "two", 60)
    assert counters(store) == (0, 0)
    with store.read() as tx:
        assert ledger.entries(tx) == []


def test_more_than_was_reserved_is_booked_in_full(store: Store) -> None:
    open_budget(store)
    with store.write() as tx:
        reserve(tx, "op", 10)
        ledger.spend(tx, operation="op", kind="train", nanos=15)
        ledger.settle(tx, operation="op", kind="train", at=2.0)
        ledger.spend(tx, operation="op", kind="train", nanos=7)
    assert counters(store) == (0, 22)


def test_a_lower_limit_keeps_what_was_spent(store: Store) -> None:
    open_budget(store)
    with store.write() as tx:
        reserve(tx, "op", 80)
    open_budget(store, 50)
    assert counters(store) == (80, 0)
    with pytest.raises(BudgetExceeded), store.write() as tx:
        reserve(tx, "two", 1)


def test_budgets_are_apart(store: Store) -> None:
    open_budget(store)
    open_budget(store, 5, name="c")
    with store.write() as tx:
        reserve(tx, "op", 80)
        reserve(tx, "other", 5, budget="c")
    assert counters(store) == (80, 0)
    assert counters(store, "c") == (5, 0)


def test_threads_that_reserve_at_once_never_take_too_much(store: Store) -> None:
    open_budget(store, 100)

    def one(number: int) -> bool:
        try:
            with store.write() as tx:
                reserve(tx, f"op-{number}", 7)
        except BudgetExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(one, range(30)))
    assert sum(outcomes) == 14
    assert counters(store) == (98, 0)


def test_threads_may_open_a_new_budget_at_once(store: Store) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: open_budget(store, 100 + number), range(12)))
    with store.read() as tx:
        (limit,) = tx.execute(sa.select(schema.budgets.c.limit_nanos)).scalars()
    assert 100 <= limit < 112
