"""What every store is opened with: clock, compression, limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from understudy.backend import Clock
from understudy.clock import SystemClock

__all__ = ["CacheOptions"]

_MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheOptions:
    """Settings that all stores share.

    Args:
        clock: for times of expiry.
        compress: pack values with a dictionary learnt from the generation's own answers.
        fresh_for: seconds for which a reader of the embedded store may take the generation it
            knows for the current one without looking; 0 looks at every read.
        max_value_bytes: a longer value is refused.
        max_generation_bytes: of values as stored; None for no limit.
        max_tail_bytes: of values as stored; over it the oldest live answers go.
    """

    clock: Clock = field(default_factory=SystemClock)
    compress: bool = True
    fresh_for: float = 0.02
    max_value_bytes: int = 4 * _MIB
    max_generation_bytes: int | None = None
    max_tail_bytes: int | None = 1024 * _MIB
