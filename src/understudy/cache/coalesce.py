"""One piece of work for all who want it at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from understudy.errors import Unavailable

__all__ = ["Coalescer"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Coalescer(Generic[K, V]):
    """Whoever comes while the work for a key is being done waits for it and shares what it gave."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[K, Future[V]] = {}

    def run(self, key: K, work: Callable[[], V]) -> tuple[V, bool]:
        """What ``work`` returned, and whether it was another thread's call of it.

        Raises:
            Exception: what ``work`` raised, in every thread that waited.
        """
        with self._lock:
            future = self._running.get(key)
            if future is None:
                mine = self._running[key] = Future()
        if future is not None:
            return future.result(), True
        try:
            value = work()
        except BaseException as error:
            # An interrupt is meant for this thread alone.
            shared = error if isinstance(error, Exception) else _interrupted()
            mine.set_exception(shared)
            raise
        else:
            mine.set_result(value)
        finally:
            with self._lock:
                del self._running[key]
        return value, False


def _interrupted() -> Unavailable:
    return Unavailable("the call that this one waited for was interrupted; ask again")
