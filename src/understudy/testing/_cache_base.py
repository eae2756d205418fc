"""What the parts of ``CacheStoreSuite`` share: fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from understudy.cache import CacheOptions, CacheStore
from understudy.testing.clock import ManualClock

__all__ = ["CacheBase", "OpenStore"]

OpenStore = Callable[..., CacheStore]


class CacheBase:
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
