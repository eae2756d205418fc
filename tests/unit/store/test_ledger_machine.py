"""The ledger under any order of calls: its counters are the sums of its lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from understudy.costs import ledger
from understudy.errors import BudgetExceeded
from understudy.store import Store
from understudy.store.schema import budgets
from understudy.store.schema import ledger as lines

OPERATIONS = st.sampled_from(["a", "b", "c", "d"])
KINDS = st.sampled_from(["train", "evaluate"])
LIMIT = 100


class Model(RuleBasedStateMachine):
    """Against a plain dictionary: what is reserved and spent for each line."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[tuple[str, str], list[int]] = {}
        self.closed: set[tuple[str, str]] = set()
        with self.store.write() as tx:
            tx.execute(sa.delete(lines))
            tx.execute(sa.delete(budgets))
            ledger.open_budget(tx, name="b", limit_nanos=LIMIT)

    @property
    def used(self) -> int:
        return sum(reserved + spent for reserved, spent in self.lines.values())

    @rule(operation=OPERATIONS, kind=KINDS, nanos=st.integers(0, 60))
    def reserve(self, operation: str, kind: str, nanos: int) -> None:
        new = (operation, kind) not in self.lines
        fits = self.used + nanos <= LIMIT
        try:
            with self.store.write() as tx:
                ledger.reserve(
                    tx,
                    budget="b",
                    operation=operation,
                    job_id=None,
                    kind=kind,
                    nanos=nanos,
                    at=1.0,
                )
        except BudgetExceeded:
            assert new
            assert not fits
        else:
            assert fits or not new
            self.lines.setdefault((operation, kind), [nanos, 0])

    @rule(operation=OPERATIONS, kind=KINDS, share=st.floats(0, 1))
    def spend(self, operation: str, kind: str, share: float) -> None:
        line = self.lines.get((operation, kind))
        if line is None:
            return
        nanos = int(line[0] * share)
        with self.store.write() as tx:
            ledger.spend(tx, operation=operation, kind=kind, nanos=nanos)
        line[0] -= nanos
        line[1] += nanos

    @rule(operation=OPERATIONS, kind=KINDS)
    def settle(self, operation: str, kind: str) -> None:
        with self.store.write() as tx:
            ledger.settle(tx, operation=operation, kind=kind, at=2.0)
        if (operation, kind) in self.lines:
            self.lines[operation, kind][0] = 0

    @rule(operation=OPERATIONS, kind=KINDS)
    def fail_half_way(self, operation: str, kind: str) -> None:
        """What a transaction did that came to nothing is not there."""
        with pytest.raises(RuntimeError), self.store.write() as tx:
            ledger.settle(tx, operation=operation, kind=kind, at=2.0)
            raise RuntimeError

    @invariant()
    def counters_are_the_sums_of_the_lines(self) -> None:
        with self.store.read() as tx:
            budget = tx.execute(sa.select(budgets)).mappings().one()
            rows = tx.execute(sa.select(lines)).mappings().all()
        found: dict[Any, list[int]] = {
            (row["operation"], row["kind"]): [row["reserved_nanos"], row["spent_nanos"]]
            for row in rows
        }
        assert found == self.lines
        assert budget["reserved_nanos"] == sum(row["reserved_nanos"] for row in rows)
        assert budget["spent_nanos"] == sum(row["spent_nanos"] for row in rows)
        assert budget["reserved_nanos"] + budget["spent_nanos"] <= LIMIT
        assert min((row["reserved_nanos"] for row in rows), default=0) >= 0


def test_the_ledger_adds_up(store: Store, tmp_path: Path) -> None:
    class OnThisStore(Model):
        pass

    OnThisStore.store = store
    run_state_machine_as_test(
        OnThisStore,
        settings=settings(
            max_examples=15,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
