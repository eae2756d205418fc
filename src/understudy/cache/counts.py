"""What a cascade counts: hits, calls, tokens and money; in memory first, then in the store."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal

from understudy.cache.base import CacheStore
from understudy.costs.money import add, to_nanos
from understudy.model import Usage

__all__ = ["Counts"]

_log = logging.getLogger("understudy.cache")


class Counts:
    """Counters of one cascade. What is flushed adds up in the store over all processes.

    A live call flushes when it ends, a cascade when it is closed; a hit never writes.
    """

    def __init__(self, store: CacheStore, cache: str) -> None:
        self._store = store
        self._cache = cache
        self._lock = threading.Lock()
        self._pending: Counter[str] = Counter()
        self._total: Counter[str] = Counter()
        self._hits = 0

    def hit(self) -> None:
        """Count a hit."""
        with self._lock:
            self._hits += 1

    def add(self, name: str, number: int = 1) -> None:
        """Count."""
        with self._lock:
            self._pending[name] += number

    def spent(
        self,
        rung: str,
        usage: Usage,
        cost_of: Callable[[Usage], Decimal] | None,
        *,
        so_far: Decimal | None,
    ) -> Decimal | None:
        """Count a completion's tokens and money (nano-dollars, rounded up).

        Returns:
            ``so_far`` and its cost together; None where either is not known.
        """
        cost = None if cost_of is None else cost_of(usage)
        with self._lock:
            self._pending[f"{rung}_input_tokens"] += usage.input
            self._pending[f"{rung}_output_tokens"] += usage.output
            if cost is None:
                self._pending[f"{rung}_unpriced"] += 1
            else:
                self._pending[f"{rung}_nanos"] += to_nanos(cost, up=True)
        return None if cost is None or so_far is None else add(so_far, cost)

    def flush(self) -> None:
        """Add what was counted to the store's; where that fails, it is tried again next time."""
        with self._lock:
            pending, self._pending = self._pending, Counter()
            hits, self._hits = self._hits, 0
        if hits:
            pending["hits"] += hits
        if not pending:
            return
        try:
            self._store.add_counts(self._cache, pending)
        except Exception as error:  # noqa: BLE001 - no trouble of a cache may cost an answer
            _log.warning("the counters of cache %r wait: %s", self._cache, type(error).__name__)
            with self._lock:
                self._pending.update(pending)
            return
        with self._lock:
            self._total.update(pending)

    def so_far(self) -> Mapping[str, int]:
        """All that this cascade counted, flushed or not."""
        with self._lock:
            return dict(self._total + self._pending + Counter(hits=self._hits))
