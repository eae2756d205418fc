"""Several workers share one plan."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from batch_kit import Desk
from fault_kit import Provider

from understudy.engine import Worker, operations


@pytest.mark.postgres
def test_three_workers_share_a_plan_on_postgresql(
    postgres: Any, asked: Provider, tmp_path: Path
) -> None:
    url = postgres.migrated()
    desks = [Desk(asked, tmp_path, url) for _ in range(3)]
    desk = desks[0]
    run = desk.begin(200, batch={"requests_a_batch": 20})
    seen: set[str] = set()

    def drain(one: Desk) -> None:
        if Worker(one.engine).drain():
            seen.add(one.engine.worker)

    def step() -> None:
        due = operations.next_due(desk.project.store) or 0.0
        asked.advance(max(due - asked.clock.now(), 0) + 0.001)
        threads = [threading.Thread(target=drain, args=(one,)) for one in desks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    for _ in range(200):
        if desk.report(run).run.state.ended:
            break
        step()
    assert len(seen) == 3
    shards = [batch["metadata"]["understudy_shard"] for batch in desk.batches()]
    assert sorted(shards) == sorted({shard.id for shard in desk.shards(run)})
    assert len(shards) == 10
    desk.assert_whole(run, 200)
    for one in desks:
        one.close()
