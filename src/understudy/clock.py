"""The injected clock: the system's, or one that starts elsewhere and runs faster."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from understudy.errors import ConfigError

__all__ = ["FastClock", "SystemClock", "clock_from"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemClock:
    """The time of day. ``speed`` is 1: a second of this clock lasts a second."""

    speed: float = 1.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()


@dataclass(frozen=True, kw_only=True, slots=True)
class FastClock:
    """Starts at ``start`` when the system's clock shows ``anchor``, and runs ``speed`` as fast.

    Processes that are given the same three numbers agree on the time.
    """

    start: float
    anchor: float
    speed: float = 1.0

    def now(self) -> float:
        """Seconds since the epoch, on this clock."""
        return self.start + (time.time() - self.anchor) * self.speed


def clock_from(text: str | None) -> SystemClock | FastClock:
    """The clock that ``UNDERSTUDY_CLOCK`` describes: ``ISO-TIME[,SPEED[,ANCHOR]]``.

    ``ISO-TIME`` is where it starts (UTC), ``SPEED`` how many of its seconds fit into one,
    ``ANCHOR`` the system time at which it starts (default: now). Empty is the system's clock.

    Raises:
        ConfigError: the text is none of this.
    """
    if not text:
        return SystemClock()
    parts = text.split(",")
    try:
        start = datetime.fromisoformat(parts[0])
        speed = float(parts[1]) if len(parts) > 1 else 1.0
        anchor = float(parts[2]) if len(parts) > 2 else time.time()
    except ValueError:
        raise ConfigError(
            f"UNDERSTUDY_CLOCK is {text!r}; write ISO-TIME[,SPEED[,ANCHOR]], "
            "for example 2028-01-01T00:00:00Z,60"
        ) from None
    if start.tzinfo is None:
        start = start.replace(tzinfo=UTC)
    return FastClock(start=start.timestamp(), anchor=anchor, speed=speed)
