"""Rows that tell which generation they are of, for tests of caches. Imports no pytest."""

from __future__ import annotations

import hashlib

from understudy.cache import CacheStore

__all__ = ["CACHE", "MODEL", "key", "publish", "rows", "value"]

CACHE = "triage"
MODEL = "intents@1"


def key(number: int) -> bytes:
    """The 32 bytes of key number ``number``; keys are in no order."""
    return hashlib.sha256(b"%d" % number).digest()


def value(generation: str, number: int) -> bytes:
    """What a generation holds under a key."""
    return b'{"from":"%b","number":%d}' % (generation.encode(), number)


def rows(generation: str, *numbers: int) -> list[tuple[bytes, bytes]]:
    """Rows that tell which generation they are of."""
    return [(key(number), value(generation, number)) for number in numbers]


def publish(store: CacheStore, generation: str, *numbers: int, ttl: float | None = None) -> None:
    """Fill a generation and make it the current one."""
    with store.writer(CACHE, generation, model=MODEL, ttl=ttl) as writer:
        writer.put(rows(generation, *numbers))
        writer.publish()
