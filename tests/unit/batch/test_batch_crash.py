"""A worker that dies at any point: the next one goes on, and nothing is sent or paid twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from batch_kit import Desk
from engine_kit import Crash, crash_at

from understudy.engine.points import BATCH_LABELS


@pytest.mark.parametrize("label", BATCH_LABELS)
def test_it_goes_on_where_another_died(make_desk: Callable[..., Any], label: str) -> None:
    dies: Desk = make_desk(reach=crash_at(label))
    run = dies.begin(60)
    with pytest.raises(Crash):
        dies.run_to(run)
    lives: Desk = make_desk()
    lives.billed_before = dies.billed_before
    lives.batches_before = dies.batches_before
    # The dead worker's leases must lapse first.
    lives.provider.advance(lives.engine.timing.lease + 1)
    report = lives.run_to(run)
    assert report.run.state == "done", report.to_json()
    shards = [batch["metadata"]["understudy_shard"] for batch in lives.batches()]
    assert sorted(shards) == sorted({shard.id for shard in report.shards})
    lives.assert_whole(run, 60)
