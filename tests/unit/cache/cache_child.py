"""Fills and publishes a generation, and kills itself where it is told to. Run as a process."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

from understudy.cache import open_cache
from understudy.testing.cache_rows import CACHE, MODEL, rows

SOURCES, ROWS = 4, 300
NEVER = "-"


def die() -> None:
    """Kill this process the hard way."""
    os.kill(os.getpid(), signal.SIGKILL)


def shard(source: int, *, dies: bool) -> Iterator[tuple[bytes, bytes]]:
    """Rows of one source; may die in the middle of them."""
    for place, row in enumerate(rows("g2", *range(source * ROWS, (source + 1) * ROWS))):
        if dies and place == ROWS // 2:
            die()
        yield row


def die_at(point: str) -> None:
    """``module:Class.name:before`` (or ``after``): die there."""
    module, path, when = point.split(":")
    holder: Any = importlib.import_module(module)
    *owners, name = path.split(".")
    for owner in owners:
        holder = getattr(holder, owner)
    real = getattr(holder, name)

    def deadly(*args: Any, **options: Any) -> Any:
        if when == "before":
            die()
        result = real(*args, **options)
        die()
        return result

    setattr(holder, name, deadly)


def main(url: str, in_source: str, at_point: str) -> None:
    """Do the whole work, or die."""
    if at_point != NEVER:
        die_at(at_point)
    store = open_cache(url)
    with store.writer(CACHE, "g2", model=MODEL) as writer:
        for source in range(SOURCES):
            writer.put(shard(source, dies=str(source) == in_source), source=f"s{source}")
        writer.publish()
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
