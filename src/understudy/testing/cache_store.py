"""``CacheStoreSuite``: the contract of a store of precomputed answers as tests."""

from __future__ import annotations

import threading

import pytest

from understudy.cache import CacheStore
from understudy.testing._cache_base import OpenStore
from understudy.testing._cache_generations import GenerationTests
from understudy.testing._cache_tail import TailTests
from understudy.testing._cache_writer import WriterTests
from understudy.testing.cache_rows import CACHE, key, publish

__all__ = ["CacheStoreSuite"]


@pytest.mark.understudy_contract
class CacheStoreSuite(GenerationTests, WriterTests, TailTests):
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
