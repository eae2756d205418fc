"""A clock that moves only when it is told to."""

from __future__ import annotations

import threading

__all__ = ["ManualClock"]


class ManualClock:
    """Starts at ``start`` seconds since the epoch and stands still until ``advance``.

    May be shared by threads. ``speed`` is 0: waiting on the system's clock changes nothing here.
    """

    speed = 0.0

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since the epoch, on this clock."""
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> float:
        """Move forward and return the new time. Raises ``ValueError`` when asked to go back."""
        if seconds < 0:
            message = f"a clock cannot go back by {-seconds:g} s; make a new ManualClock instead"
            raise ValueError(message)
        with self._lock:
            self._now += seconds
            return self._now
