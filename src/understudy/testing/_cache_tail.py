"""Live answers beside the generations, and what becomes of them."""

from __future__ import annotations

import pytest

from understudy.cache import (
    CacheStore,
    TailRow,
)
from understudy.errors import ConfigError
from understudy.testing._cache_base import CacheBase, OpenStore
from understudy.testing.cache_rows import CACHE, MODEL, key, publish, rows, value
from understudy.testing.clock import ManualClock

__all__ = ["TailTests"]


class TailTests(CacheBase):
    def test_a_live_answer_is_found_behind_the_generation(self, store: CacheStore) -> None:
        publish(store, "g1", 1)
        store.put_tail(CACHE, [TailRow(key=key(1), value=b"t"), TailRow(key=key(2), value=b"t2")])
        assert store.get(CACHE, key(1)) == value("g1", 1)
        assert store.get(CACHE, key(2)) == b"t2"
        assert store.get_tail(CACHE, key(1)) == b"t"
        assert store.get_many(CACHE, [key(1), key(2), key(3)]) == {
            key(1): value("g1", 1),
            key(2): b"t2",
        }
        store.put_tail(CACHE, [TailRow(key=key(2), value=b"newer")])
        assert store.get(CACHE, key(2)) == b"newer"
        assert store.stats(CACHE).tail_entries == 2

    def test_a_refusal_is_found_alone_and_expires(
        self, store: CacheStore, clock: ManualClock
    ) -> None:
        until = clock.now() + 60
        store.put_tail(
            CACHE, [TailRow(key=key(1), value=b"refused", expires_at=until, carried=False)]
        )
        assert store.get_tail(CACHE, key(1)) == b"refused"
        assert store.known(CACHE, [key(1)]) == set(), "no answer"
        assert [row.carried for row in store.scan_tail(CACHE)] == [False]
        clock.advance(60)
        assert store.get_tail(CACHE, key(1)) is None
        assert list(store.scan_tail(CACHE)) == []
        store.prune(CACHE)
        assert store.stats(CACHE).tail_entries == 0

    def test_over_its_limit_the_oldest_go(self, open_store: OpenStore) -> None:
        store = open_store(max_tail_bytes=350)
        for number in range(5):
            store.put_tail(CACHE, [TailRow(key=key(number), value=b"x" * 100)])
        left = [number for number in range(5) if store.get_tail(CACHE, key(number))]
        assert left[-1] == 4
        assert 0 < len(left) <= 3
        assert left == list(range(5 - len(left), 5))
        assert store.stats(CACHE).tail_bytes <= 350

    def test_the_next_generation_carries_answers_and_no_refusals(self, store: CacheStore) -> None:
        publish(store, "g1", 1, 2)
        store.put_tail(
            CACHE,
            [
                TailRow(key=key(3), value=b"live"),
                TailRow(key=key(4), value=b"no", expires_at=9e9, carried=False),
            ],
        )
        with store.writer(CACHE, "g2", model=MODEL) as writer:
            writer.put(rows("g2", 2))
            for _ in range(2):
                assert writer.carry() == 3
            writer.publish()
        assert dict(store.scan(CACHE)) == {
            key(1): value("g1", 1),
            key(2): value("g2", 2),
            key(3): b"live",
        }

    def test_only_the_keys_that_are_wanted_are_carried(self, store: CacheStore) -> None:
        publish(store, "g1", 1, 2, 3)
        with store.writer(CACHE, "g2", model=MODEL) as writer:
            assert writer.carry([key(1), key(3), key(8)], tail=False) == 2
            writer.put(rows("g2", 3))
            writer.publish()
        assert dict(store.scan(CACHE)) == {key(1): value("g1", 1), key(3): value("g2", 3)}

    def test_answers_of_another_model_are_not_carried(self, store: CacheStore) -> None:
        publish(store, "g1", 1)
        with store.writer(CACHE, "g2", model="intents@2") as writer:
            assert writer.carry() == 0

    def test_prune_keeps_the_newest_the_current_and_what_a_rollback_needs(
        self, store: CacheStore, clock: ManualClock
    ) -> None:
        publish(store, "g1", 1)
        store.put_tail(CACHE, [TailRow(key=key(8), value=b"live")])
        for name in ("g2", "g3", "g4"):
            clock.advance(1)
            publish(store, name, 1, *([8] if name != "g2" else []))
        store.rollback(CACHE, "g2")
        assert [g.id for g in store.prune(CACHE, keep=1)] == ["g3", "g1"]
        assert {g.id for g in store.generations(CACHE)} == {"g2", "g4"}
        assert store.get(CACHE, key(8)) == b"live", "g2 lacks it, so the tail keeps it"
        store.rollback(CACHE, "g4")
        assert [g.id for g in store.prune(CACHE, keep=1)] == ["g2"]
        assert store.stats(CACHE).tail_entries == 0, "it stands in all that are kept"
        assert store.get(CACHE, key(8)) == value("g4", 8)
        with pytest.raises(ConfigError):
            store.rollback(CACHE, "g1")

    def test_counts_add_up(self, store: CacheStore, open_store: OpenStore) -> None:
        store.add_counts(CACHE, {"hits": 2, "nanos": 5_000_000_000})
        open_store().add_counts(CACHE, {"hits": 3})
        publish(store, "g1", 1)
        stats = store.stats(CACHE)
        assert stats.counts == {"hits": 5, "nanos": 5_000_000_000}
        assert (stats.cache, stats.generations, stats.store) == (CACHE, 1, store.shown)
        assert stats.current == store.generations(CACHE)[0]
