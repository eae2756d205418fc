"""How much may be enqueued at once: the provider's limit, and what it was seen to take.

A provider that refuses a batch for its enqueued-token limit does so after it was created. So the
window shrinks by a third whenever that happens and grows by half a shard whenever a batch was
taken, up to the stated limit. It is one row for each backend and model: all runs and workers
share it, and admission holds it locked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from understudy.engine.batch_shards import LIVE, Run, Shard, ShardState
from understudy.model import BatchLimits
from understudy.store.dialect import insert
from understudy.store.schema import batch_runs, batch_shards, batch_windows

__all__ = ["Room", "grow", "room", "shrink"]

_HOUR = 3600.0
_SHORTEST_HOLD = 60.0
_LARGEST_HOLD = 1800.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """How much may be admitted now.

    ``tokens`` and ``batches`` are None where nothing bounds them. ``again_at``: when to look
    again where nothing may be admitted for a time.
    """

    busy: int
    tokens: int | None
    batches: int | None
    again_at: float | None = None

    def pick(self, waiting: Sequence[Shard]) -> list[Shard]:
        """Those of ``waiting`` that fit, in order; where nothing is enqueued, at least one."""
        picked: list[Shard] = []
        used = 0
        if self.again_at is not None:
            return picked
        for shard in waiting:
            if self.batches is not None and len(picked) >= self.batches:
                break
            full = self.tokens is not None and used + shard.tokens > self.tokens
            if full and (self.busy or picked):
                break
            picked.append(shard)
            used += shard.tokens
        return picked


def room(tx: sa.Connection, run: Run, limits: BatchLimits, *, now: float) -> Room:
    """What may be admitted of ``run``; the window stays locked until commit."""
    window = _locked(tx, run.backend, run.model, now)
    busy, enqueued = _busy(tx, run.backend, run.model)
    terms = run.terms
    bounds = (limits.enqueued_tokens, terms.enqueued_tokens, window["tokens"])
    most = min((bound for bound in bounds if bound is not None), default=None)
    batches = None if terms.at_once is None else terms.at_once - busy
    again_at = window["hold_until"] if window["hold_until"] > now else None
    if limits.batches_per_hour is not None:
        started = _started_since(tx, run.backend, now - _HOUR)
        left = limits.batches_per_hour - started
        batches = left if batches is None else min(batches, left)
        if left <= 0:
            again_at = now + 60
    return Room(
        busy=busy,
        tokens=None if most is None else most - enqueued,
        batches=batches,
        again_at=again_at,
    )


def shrink(tx: sa.Connection, run: Run, shard: Shard, *, now: float) -> None:
    """The provider refused ``shard`` for the tokens that are enqueued."""
    window = _locked(tx, run.backend, run.model, now)
    busy, enqueued = _busy(tx, run.backend, run.model, but=shard.id)
    # With others enqueued, room comes when one of them ends. Alone, somebody else fills the
    # account's quota, or the shard is larger than it: wait longer each time.
    before = max(window["hold_until"] - window["updated_at"], 0.0)
    hold = 0.0 if busy else min(max(2 * before, _SHORTEST_HOLD), _LARGEST_HOLD)
    _set(
        tx,
        run,
        tokens=max(enqueued, (enqueued + shard.tokens) * 2 // 3),
        hold_until=now + hold,
        updated_at=now,
    )


def grow(tx: sa.Connection, run: Run, shard: Shard, limit: int | None, *, now: float) -> None:
    """The provider took ``shard``: try a little more next time."""
    window = _locked(tx, run.backend, run.model, now)
    if window["tokens"] is None:
        return  # nothing was ever refused
    tokens: int | None = window["tokens"] + max(shard.tokens // 2, 1)
    if limit is not None and tokens is not None and tokens >= limit:
        tokens = None
    _set(tx, run, tokens=tokens, hold_until=0.0, updated_at=now)


def _set(tx: sa.Connection, run: Run, **values: object) -> None:
    mine = (batch_windows.c.backend == run.backend) & (batch_windows.c.model == run.model)
    tx.execute(sa.update(batch_windows).where(mine).values(**values))


def _locked(tx: sa.Connection, backend: str, model: str, now: float) -> sa.RowMapping:
    first = {"backend": backend, "model": model, "hold_until": 0.0, "updated_at": now}
    tx.execute(insert(tx, batch_windows).values(**first).on_conflict_do_nothing())
    mine = (batch_windows.c.backend == backend) & (batch_windows.c.model == model)
    return tx.execute(sa.select(batch_windows).where(mine).with_for_update()).mappings().one()


def _busy(tx: sa.Connection, backend: str, model: str, *, but: str = "") -> tuple[int, int]:
    """Shards that are enqueued or on their way there, and their tokens."""
    query = (
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(batch_shards.c.tokens), 0))
        .join_from(batch_shards, batch_runs, batch_runs.c.id == batch_shards.c.run_id)
        .where(
            batch_runs.c.backend == backend,
            batch_runs.c.model == model,
            batch_shards.c.state.in_(LIVE),
            batch_shards.c.id != but,
        )
    )
    count, tokens = tx.execute(query).one()
    return int(count), int(tokens)


def _started_since(tx: sa.Connection, backend: str, since: float) -> int:
    soon = batch_shards.c.state.in_((ShardState.UPLOADING, ShardState.SUBMITTING))
    query = (
        sa.select(sa.func.count())
        .join_from(batch_shards, batch_runs, batch_runs.c.id == batch_shards.c.run_id)
        .where(batch_runs.c.backend == backend, (batch_shards.c.started_at > since) | soon)
    )
    return int(tx.execute(query).scalar_one())
