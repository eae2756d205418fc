"""The kinds of operations that asking by batch adds to the engine; imported when first stepped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from understudy.cache import CacheStore
    from understudy.engine import Engine
    from understudy.engine.operations import Operation

__all__ = ["OpenCache", "kinds"]

OpenCache = Callable[[], "CacheStore"]
"""Opens the configured cache at first use, and gives the same one after."""


def kinds(open_cache: OpenCache) -> Mapping[str, Callable[[Engine, Operation], None]]:
    """What ``Engine.kinds`` takes; ``open_cache`` is called when a run is published."""
    return {
        "batch_run": partial(_drive, open_cache),
        "batch_collect": _collect,
        "batch_live": _ask_live,
    }


def _drive(open_cache: OpenCache, engine: Engine, op: Operation) -> None:
    from understudy.batch import driving

    driving.step(engine, op, open_cache=open_cache)


def _collect(engine: Engine, op: Operation) -> None:
    from understudy.batch import collecting

    collecting.step(engine, op)


def _ask_live(engine: Engine, op: Operation) -> None:
    from understudy.batch import live

    live.step(engine, op)
