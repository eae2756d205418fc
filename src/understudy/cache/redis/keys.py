"""Names of what a cache keeps in Redis. The braces keep one cache in one slot of a cluster."""

from __future__ import annotations

import math
import struct

from understudy.cache.base import TailRow

__all__ = ["BUCKETS", "CACHES", "Keys", "read_tail_row", "tail_row"]

CACHES = "understudy:caches"
BUCKETS = 4096
_ROW = struct.Struct(">dB")


class Keys:
    """The keys of one cache."""

    def __init__(self, cache: str) -> None:
        base = f"understudy:{{{cache}}}"
        self.pointer = f"{base}:pointer"
        self.generations = f"{base}:generations"
        self.publications = f"{base}:publications"
        self.counts = f"{base}:counts"
        self.tail = f"{base}:tail"
        self.tail_keys = (self.tail, f"{base}:order", f"{base}:size")
        self._base = base

    def record(self, generation: str) -> str:
        """The record of a generation, and the beginning of its buckets' names."""
        return f"{self._base}:g:{generation}"

    def sources(self, generation: str) -> str:
        """Sources that are in."""
        return f"{self.record(generation)}:s"

    def bucket(self, generation: str, key: bytes) -> str:
        """Where a row is."""
        return f"{self.record(generation)}:{(key[0] << 4) | (key[1] >> 4):03x}"

    def buckets(self, generation: str) -> list[str]:
        """All buckets of a generation."""
        return [f"{self.record(generation)}:{number:03x}" for number in range(BUCKETS)]


def tail_row(row: TailRow) -> bytes:
    """Expiry and whether it is carried, before the value."""
    expires_at = math.inf if row.expires_at is None else row.expires_at
    return _ROW.pack(expires_at, row.carried) + row.value


def read_tail_row(key: bytes, data: bytes, now: float) -> TailRow | None:
    """The row, or None once it has expired."""
    expires_at, carried = _ROW.unpack_from(data)
    if expires_at <= now:
        return None
    return TailRow(
        key=key,
        value=data[_ROW.size :],
        expires_at=None if math.isinf(expires_at) else expires_at,
        carried=bool(carried),
    )
