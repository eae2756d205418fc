"""Filling a generation: resumed, refused, packed, side by side."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from understudy.cache import (
    CacheStore,
)
from understudy.errors import DataError, StaleRecord
from understudy.testing._cache_base import CacheBase, OpenStore
from understudy.testing.cache_rows import CACHE, MODEL, key, publish, rows, value

__all__ = ["WriterTests"]


class WriterTests(CacheBase):
    def test_a_writer_opened_again_goes_on(self, store: CacheStore, open_store: OpenStore) -> None:
        first = store.writer(CACHE, "g1", model=MODEL)
        first.put(rows("g1", 1), source="batch-1")
        again = open_store().writer(CACHE, "g1", model=MODEL)
        assert again.sources() == {"batch-1"}
        assert again.put(rows("other", 1), source="batch-1") == 0, "it is in already"
        assert again.put(rows("g1", 2), source="batch-2") == 1
        again.publish()
        assert dict(store.scan(CACHE)) == dict(rows("g1", 1, 2))
        assert first.sources() == {"batch-1", "batch-2"}
        assert first.put(rows("g1", 1), source="batch-1") == 0, "published or not"
        assert first.carry() == 0

    def test_publishing_twice_is_publishing_once(self, store: CacheStore) -> None:
        publish(store, "g1", 1)
        with store.writer(CACHE, "g1", model=MODEL) as writer:
            assert writer.publish().order == 1
            with pytest.raises(StaleRecord, match="published"):
                writer.put(rows("g1", 2))
            with pytest.raises(StaleRecord, match="published"):
                writer.abandon()
        assert store.get(CACHE, key(2)) is None

    def test_who_publishes_second_on_the_same_base_is_refused(self, store: CacheStore) -> None:
        slow = store.writer(CACHE, "slow", model=MODEL)
        slow.put(rows("slow", 1))
        publish(store, "quick", 1)
        with pytest.raises(StaleRecord, match="'quick'"):
            slow.publish()
        assert store.get(CACHE, key(1)) == value("quick", 1)
        assert slow.publish(force=True).order == 2
        assert store.get(CACHE, key(1)) == value("slow", 1)
        assert store.rollback(CACHE).id == "quick"

    def test_an_abandoned_generation_is_gone(self, store: CacheStore) -> None:
        publish(store, "g1", 1)
        writer = store.writer(CACHE, "g2", model=MODEL)
        writer.put(rows("g2", 1), source="s")
        writer.abandon()
        assert [g.id for g in store.generations(CACHE)] == ["g1"]
        with pytest.raises(StaleRecord, match="abandoned"):
            writer.put(rows("g2", 1))
        with store.writer(CACHE, "g2", model=MODEL) as anew:
            assert (anew.sources(), anew.count()) == (frozenset(), 0)

    def test_a_generation_is_of_one_model(self, store: CacheStore) -> None:
        store.writer(CACHE, "g1", model=MODEL).close()
        with pytest.raises(StaleRecord, match="intents@2"):
            store.writer(CACHE, "g1", model="intents@2")

    @pytest.mark.parametrize("bad", [(b"short", b"v"), (key(2), b"x" * 101)])
    def test_a_row_that_does_not_fit_is_named_and_its_source_is_not_in(
        self, open_store: OpenStore, bad: tuple[bytes, bytes]
    ) -> None:
        store = open_store(max_value_bytes=100)
        writer = store.writer(CACHE, "g1", model=MODEL)
        with pytest.raises(DataError, match="bytes"):
            writer.put([(key(1), b"fine"), bad], source="s")
        assert writer.sources() == frozenset()
        writer.put([(key(1), b"fine")], source="s")
        assert writer.publish().entries == 1

    def test_a_generation_over_its_limit_is_refused(self, open_store: OpenStore) -> None:
        writer = open_store(max_generation_bytes=1000).writer(CACHE, "g1", model=MODEL)
        writer.put([(key(1), b"x" * 600)])
        with pytest.raises(DataError, match="max_generation_bytes"):
            writer.put([(key(2), b"x" * 600)], source="s")
        assert writer.sources() == frozenset()

    def test_like_answers_are_packed_and_come_back_as_they_were(self, store: CacheStore) -> None:
        told = b'{"message":{"role":"assistant","content":"intent_%d of many"},"model":"ft:x"}'
        values = {key(number): told % (number % 70) for number in range(3000)}
        with store.writer(CACHE, "g1", model=MODEL) as writer:
            writer.put([(key(5000), b"before there is a dictionary")])
            writer.put(values.items())
            made = writer.publish()
        assert made.codec == "zstd"
        assert made.bytes < 0.6 * sum(map(len, values.values()))
        assert dict(store.scan(CACHE)) == {
            **values,
            key(5000): b"before there is a dictionary",
        }
        assert store.get(CACHE, key(7)) == told % 7

    def test_many_fill_one_generation_side_by_side(
        self, store: CacheStore, open_store: OpenStore
    ) -> None:
        store.writer(CACHE, "g1", model=MODEL).close()

        def fill(part: int) -> None:
            with closing(open_store()) as mine, mine.writer(CACHE, "g1", model=MODEL) as writer:
                for start in range(part * 1000, part * 1000 + 1000, 250):
                    writer.put(rows("g1", *range(start, start + 250)), source=f"s{start}")

        threads = [threading.Thread(target=fill, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with store.writer(CACHE, "g1", model=MODEL) as writer:
            assert len(writer.sources()) == 16
            assert writer.publish().entries == 4000
        assert dict(store.scan(CACHE)) == dict(rows("g1", *range(4000)))
