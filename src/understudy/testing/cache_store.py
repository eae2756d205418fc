"""``CacheStoreSuite``: the contract of a store of precomputed answers as tests."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from understudy.cache import (
    CacheOptions,
    CacheStore,
    GenerationState,
    GenerationSwitched,
    TailRow,
)
from understudy.errors import ConfigError, DataError, StaleRecord
from understudy.testing.clock import ManualClock

__all__ = ["CacheStoreSuite", "key", "rows"]

CACHE = "triage"
MODEL = "intents@1"

OpenStore = Callable[..., CacheStore]


def key(number: int) -> bytes:
    """The 32 bytes of key number ``number``; keys are in no order."""
    return hashlib.sha256(b"%d" % number).digest()


def value(generation: str, number: int) -> bytes:
    """What a generation holds under a key."""
    return b'{"from":"%b","number":%d}' % (generation.encode(), number)


def rows(generation: str, *numbers: int) -> list[tuple[bytes, bytes]]:
    """Rows that tell which generation they are of."""
    return [(key(number), value(generation, number)) for number in numbers]


class _Base:
    """Fixtures, and the steps that many tests take."""

    @pytest.fixture
    def place(self) -> Callable[[CacheOptions], CacheStore]:
        """How to open the store of this test: give one in the subclass.

        Called again, it opens the same store once more, as another process would.
        """
        pytest.fail("give CacheStoreSuite a fixture `place`: CacheOptions -> CacheStore")

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The store's clock."""
        return ManualClock()

    @pytest.fixture
    def open_store(
        self, place: Callable[[CacheOptions], CacheStore], clock: ManualClock
    ) -> Iterator[OpenStore]:
        """Opens the store; options may be given."""
        opened: list[CacheStore] = []

        def make(**options: Any) -> CacheStore:
            made = place(CacheOptions(clock=clock, **{"fresh_for": 0.0, **options}))
            opened.append(made)
            return made

        yield make
        for store in opened:
            store.close()

    @pytest.fixture
    def store(self, open_store: OpenStore) -> CacheStore:
        """A store without caches."""
        return open_store()


def publish(store: CacheStore, generation: str, *numbers: int, ttl: float | None = None) -> None:
    """Fill a generation and make it the current one."""
    with store.writer(CACHE, generation, model=MODEL, ttl=ttl) as writer:
        writer.put(rows(generation, *numbers))
        writer.publish()


class _GenerationTests(_Base):
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


class _WriterTests(_Base):
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


class _TailTests(_Base):
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


@pytest.mark.understudy_contract
class CacheStoreSuite(_GenerationTests, _WriterTests, _TailTests):
    """Subclass it as ``Test...`` and give the fixture ``place``.

    ``place`` is a function that opens the store with the ``CacheOptions`` that it is given. Each
    test wants a place of its own, without caches; opened twice in one test, it is the same place.
    """

    def test_readers_see_one_generation_while_others_are_published(
        self, store: CacheStore, open_store: OpenStore
    ) -> None:
        """0 mixed and 0 failed reads while generations are switched, rolled back and pruned."""
        publish(store, "g0", *range(50))
        keys, wrong, reads = [key(number) for number in range(50)], [], [0, 0]
        ended = threading.Event()

        def read(mine: int) -> None:
            reader = open_store()
            while not ended.is_set() or reads[mine] < 20:
                try:
                    found = reader.get_many(CACHE, keys)
                except Exception as error:  # noqa: BLE001 - any failed read counts
                    wrong.append(repr(error))
                    return
                of = {text.split(b'"')[3] for text in found.values()}
                if len(of) != 1 or len(found) != len(keys):
                    wrong.append(f"{len(found)} values of {of}")
                reads[mine] += 1

        threads = [threading.Thread(target=read, args=(mine,)) for mine in range(2)]
        for thread in threads:
            thread.start()
        for number in range(1, 9):
            publish(store, f"g{number}", *range(50))
            if number % 3 == 0:
                store.rollback(CACHE)
                store.rollback(CACHE, f"g{number}")
            store.prune(CACHE, keep=1)
        ended.set()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert min(reads) >= 20
