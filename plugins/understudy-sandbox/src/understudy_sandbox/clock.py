"""The sandbox's own time: it may start anywhere, run fast and be pushed on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True, kw_only=True)
class Clock:
    """Sandbox time: ``start + (real - anchor) * speed + advanced``, all in seconds.

    Attributes:
        start: sandbox time (Unix seconds) at the anchor.
        anchor: real time (Unix seconds) that several processes may share.
        speed: sandbox seconds a real second.
        advanced: seconds added by hand.
        real: gives real time.
    """

    start: float
    anchor: float
    speed: float = 1.0
    advanced: float = 0.0
    real: Callable[[], float] = time.time

    def now(self) -> float:
        """Sandbox time in Unix seconds."""
        return self.start + (self.real() - self.anchor) * self.speed + self.advanced

    def today(self) -> date:
        """Sandbox date (UTC)."""
        return datetime.fromtimestamp(self.now(), UTC).date()

    def advance(self, seconds: float) -> None:
        """Push the clock on by sandbox seconds.

        Raises:
            ValueError: seconds is negative; time never runs back.
        """
        if seconds < 0:
            raise ValueError(f"the clock cannot go back {-seconds} s; give advance >= 0")
        self.advanced += seconds

    def real_seconds(self, sandbox_seconds: float) -> float:
        """Real seconds that sandbox seconds take."""
        return sandbox_seconds / self.speed if self.speed > 0 else sandbox_seconds

    def stored(self) -> dict[str, float]:
        """What a restart needs to go on with the same time."""
        return {
            "start": self.start,
            "anchor": self.anchor,
            "speed": self.speed,
            "advanced": self.advanced,
        }

    def shown(self) -> dict[str, Any]:
        """The clock as the admin route shows it."""
        now = self.now()
        return {"now": now, "iso": datetime.fromtimestamp(now, UTC).isoformat(), **self.stored()}


def parse_start(text: str) -> float:
    """Unix seconds of an ISO 8601 date or time; UTC where it names no zone.

    Raises:
        ValueError: the text is no ISO 8601 date or time.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time; write it like 2028-01-01T00:00:00Z") from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def open_clock(
    kept: dict[str, float] | None,
    *,
    start: str | None,
    speed: float | None,
    anchor: float | None,
) -> Clock:
    """The clock of a state: options first, then what the state kept, then real time.

    Without an anchor in the options, a restart goes on from the kept one, so that sandbox time
    runs on while the server is down.
    """
    kept = kept or {}
    real = anchor if anchor is not None else kept.get("anchor", time.time())
    begin = parse_start(start) if start is not None else kept.get("start", real)
    return Clock(
        start=begin,
        anchor=real,
        speed=speed if speed is not None else kept.get("speed", 1.0),
        advanced=kept.get("advanced", 0.0),
    )


def shutdown_day(clock: Clock, days: int) -> str:
    """The date (YYYY-MM-DD) that lies a number of days from the sandbox's today."""
    return (clock.today() + timedelta(days=days)).isoformat()
