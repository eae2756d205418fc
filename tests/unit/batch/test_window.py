"""Admission: never over the known quota, never standing still below it; over-quota adapts."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from batch_kit import MODEL, Desk
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.engine.batch_shards import Shard, ShardState
from understudy.engine.batch_window import Room
from understudy.store.schema import batch_windows


def shard(number: int, tokens: int) -> Shard:
    values: dict[str, Any] = dict.fromkeys(Shard.__dataclass_fields__, 0)
    more = {"id": str(number), "run_id": "r", "number": number, "state": ShardState.WAITING}
    return Shard(**{**values, **more, "tokens": tokens})


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 50), max_size=20),
    st.none() | st.integers(-20, 200),
    st.none() | st.integers(0, 9),
    st.integers(0, 3),
)
def test_what_is_picked_fits(
    sizes: list[int], tokens: int | None, batches: int | None, busy: int
) -> None:
    waiting = [shard(number, size) for number, size in enumerate(sizes)]
    picked = Room(busy=busy, tokens=tokens, batches=batches).pick(waiting)
    assert picked == waiting[: len(picked)]
    used = sum(one.tokens for one in picked)
    alone = not busy and len(picked) == 1
    assert tokens is None or used <= tokens or alone or not picked
    assert batches is None or len(picked) <= batches
    if waiting and not busy and batches != 0:
        assert picked  # with nothing out, one goes out however large it is


def test_only_what_the_quota_holds_is_out_at_once(make_desk: Any) -> None:
    desk: Desk = make_desk(batch_enqueued_tokens={MODEL: 1100})
    run = desk.begin(200, batch={"requests_a_batch": 40})
    out: list[int] = []

    def look() -> bool:
        shards = desk.shards(run)
        out.append(sum(one.tokens for one in shards if one.state in {"running", "submitting"}))
        return desk.report(run).run.state.ended

    desk.run_until(look)
    assert 0 < max(out) <= 1100
    assert sum(tokens > 520 for tokens in out) > 0  # two fit, and two were out
    desk.assert_whole(run, 200)


def test_the_window_shrinks_when_the_quota_is_smaller_than_stated_and_grows_again(
    desk: Desk,
) -> None:
    desk.faults({"on": "batches.create", "do": "over_quota", "after": 2, "times": 1})
    run = desk.begin(240)
    windows: list[int | None] = []

    def look() -> bool:
        with desk.project.store.read() as tx:
            row = tx.execute(sa.select(batch_windows.c.tokens)).first()
        windows.append(row and row.tokens)
        return desk.report(run).run.state.ended

    desk.run_until(look)
    known = [tokens for tokens in windows if tokens is not None]
    total = sum(one.tokens for one in desk.shards(run))
    assert known
    assert min(known) < total
    assert known[-1] > min(known)
    desk.assert_whole(run, 240)


def test_alone_over_the_quota_it_waits_longer_each_time(desk: Desk) -> None:
    desk.faults({"on": "batches.create", "do": "over_quota", "times": 3})
    run = desk.begin(20)
    began = desk.provider.clock.now()
    desk.run_to(run)
    assert desk.fired() == [3]
    assert desk.provider.clock.now() - began > 60 + 120 + 240
    desk.assert_whole(run, 20)
