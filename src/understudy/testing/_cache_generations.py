"""What is published is read, switched, rolled back and expires."""

from __future__ import annotations

import pytest

from understudy.cache import (
    CacheStore,
    GenerationState,
    GenerationSwitched,
)
from understudy.errors import ConfigError
from understudy.testing._cache_base import CacheBase, OpenStore
from understudy.testing.cache_rows import CACHE, MODEL, key, publish, rows, value
from understudy.testing.clock import ManualClock

__all__ = ["GenerationTests"]


class GenerationTests(CacheBase):
    def test_what_is_put_is_seen_only_once_published(self, store: CacheStore) -> None:
        with store.writer(CACHE, "g1", model=MODEL, meta={"recipe": "r"}) as writer:
            assert writer.put(rows("g1", 1, 2, 3)) == 3
            assert store.get(CACHE, key(1)) is None
            assert store.view(CACHE).generation is None
            made = writer.publish()
        assert (made.state, made.current, made.order) == (GenerationState.READY, True, 1)
        assert (made.entries, made.model, made.base) == (3, MODEL, None)
        assert made.meta == {"recipe": "r"}
        assert made.bytes > 0
        assert store.get(CACHE, key(2)) == value("g1", 2)
        assert store.get(CACHE, key(9)) is None
        assert store.view(CACHE).generation == made
        assert store.caches() == [CACHE]

    def test_of_equal_keys_the_last_counts(self, store: CacheStore) -> None:
        with store.writer(CACHE, "g1", model=MODEL) as writer:
            writer.put([(key(1), b"first"), (key(1), b"second")])
            writer.put([(key(1), b"third"), (key(2), b"other")])
            assert writer.count() == 2
            assert writer.publish().entries == 2
        assert store.get(CACHE, key(1)) == b"third"

    def test_get_many_and_known_find_what_is_there(self, store: CacheStore) -> None:
        publish(store, "g1", *range(0, 3000, 2))
        keys = [key(number) for number in range(2500)]
        found = store.get_many(CACHE, keys)
        assert dict(found) == dict(rows("g1", *range(0, 2500, 2)))
        assert store.known(CACHE, sorted(keys)) == set(found)
        assert store.get_many(CACHE, []) == {}
        assert store.known("nothing", [key(1)]) == set()

    def test_a_scan_gives_every_row(self, store: CacheStore) -> None:
        publish(store, "g1", *range(2500))
        assert dict(store.scan(CACHE)) == dict(rows("g1", *range(2500)))
        with pytest.raises(ConfigError, match="'g9'"):
            list(store.scan(CACHE, "g9"))

    def test_a_switch_replaces_everything_and_can_be_taken_back(self, store: CacheStore) -> None:
        publish(store, "g1", 1, 2)
        publish(store, "g2", 2, 3)
        assert store.get(CACHE, key(1)) is None
        assert store.get(CACHE, key(2)) == value("g2", 2)
        assert store.rollback(CACHE).id == "g1"
        assert store.get(CACHE, key(2)) == value("g1", 2)
        with pytest.raises(ConfigError, match="before"):
            store.rollback(CACHE)
        assert store.rollback(CACHE, "g2").current
        assert store.get(CACHE, key(3)) == value("g2", 3)
        with pytest.raises(ConfigError, match="'g7'"):
            store.rollback(CACHE, "g7")

    def test_a_reader_elsewhere_notices_the_switch(
        self, store: CacheStore, open_store: OpenStore
    ) -> None:
        publish(store, "g1", 1)
        reader = open_store()
        assert reader.get(CACHE, key(1)) == value("g1", 1)
        publish(store, "g2", 1)
        assert reader.get(CACHE, key(1)) == value("g2", 1)
        store.rollback(CACHE)
        assert reader.get(CACHE, key(1)) == value("g1", 1)

    def test_a_view_never_mixes_generations(self, store: CacheStore, open_store: OpenStore) -> None:
        publish(store, "g1", 1, 2)
        view = open_store().view(CACHE)
        assert view.get(key(1)) == value("g1", 1)
        publish(store, "g2", 1, 2)
        try:
            seen = view.get_many([key(1), key(2)])
        except GenerationSwitched:
            return
        assert dict(seen) == dict(rows("g1", 1, 2))

    def test_generations_are_listed_newest_first(
        self, store: CacheStore, clock: ManualClock
    ) -> None:
        publish(store, "g1", 1)
        clock.advance(1)
        publish(store, "g2", 1)
        clock.advance(1)
        with store.writer(CACHE, "g3", model=MODEL):
            found = [(g.id, g.state.value, g.current) for g in store.generations(CACHE)]
        ready, writing = GenerationState.READY.value, GenerationState.WRITING.value
        assert found == [("g3", writing, False), ("g2", ready, True), ("g1", ready, False)]
        assert store.generations("nothing") == []

    def test_an_expired_generation_is_not_read(self, store: CacheStore, clock: ManualClock) -> None:
        publish(store, "g1", 1, ttl=60)
        clock.advance(59)
        assert store.get(CACHE, key(1)) == value("g1", 1)
        clock.advance(1)
        assert store.get(CACHE, key(1)) is None
        assert store.view(CACHE).generation is None
        publish(store, "g2", 1)
        assert store.get(CACHE, key(1)) == value("g2", 1)

    def test_names_that_cannot_be_files_or_keys_are_refused(self, store: CacheStore) -> None:
        for name in ("", "../up", "a/b", "a b", "x" * 101):
            with pytest.raises(ConfigError, match="cannot name"):
                store.writer(name, "g1", model=MODEL)
            with pytest.raises(ConfigError, match="cannot name"):
                store.writer(CACHE, name, model=MODEL)
