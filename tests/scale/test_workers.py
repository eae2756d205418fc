"""Four workers on one PostgreSQL, under one budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fleet import Figures, Fleet

from understudy.store import schema

pytestmark = pytest.mark.postgres

ONCE = ("upload", "uploaded", "attach", "remote_succeeded", "registered")


@pytest.fixture
def fleet(postgres: Any, tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path, postgres.migrated())
    yield made
    made.close()


def check(fleet: Fleet, figures: Figures) -> None:
    assert set(figures.states) <= {"ready", "cancelled"}, figures.table()
    assert sum(figures.states.values()) == figures.jobs
    assert figures.most_used <= figures.limit
    assert figures.samples > 3
    assert figures.spent == figures.billed
    assert figures.spent > 0
    histories: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in sorted(fleet.rows(schema.events), key=lambda row: row["id"]):
        histories[event["job_id"]].append(event)
    for job in fleet.rows(schema.jobs):
        history = histories[job["id"]]
        state = "created"
        for event in history:
            assert event["from_state"] == state, history
            state = event["to_state"]
        assert state == job["state"]
        moves = [one for one in history if one["from_state"] != one["to_state"]]
        assert job["version"] == len(moves) == len(history), history
        if job["state"] == "ready":
            names = [one["event"] for one in history]
            assert all(names.count(name) == 1 for name in ONCE), names
    remote = fleet.sandbox.state()["jobs"]
    assert len(remote) == figures.states["ready"]
    # A worker that took no part would make this a test of fewer than four.
    assert len([name for name in figures.by_worker if name != "None"]) >= 2


def test_four_workers_share_jobs_and_budget(fleet: Fleet) -> None:
    figures = fleet.run(40, share=Decimal("0.6"), patience=90)
    check(fleet, figures)


@pytest.mark.prove
@pytest.mark.timeout(1200)
def test_four_workers_and_a_thousand_jobs(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    figures = fleet.run(1000, share=Decimal("0.6"), patience=1100)
    with capsys.disabled():
        print("\n" + figures.table())
    check(fleet, figures)
