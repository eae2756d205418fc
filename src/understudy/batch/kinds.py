"""The kinds of operations that asking by batch adds to the engine; imported when first stepped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.batch.publishing import OpenCache
    from understudy.engine import Engine
    from understudy.engine.operations import Operation
    from understudy.infer import Answerer

__all__ = ["batch_answerer", "kinds"]


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


def batch_answerer(engine: Engine, op: Operation, **options: Any) -> Answerer:
    """What ``Engine.batch_answerer`` takes.

    Raises:
        PluginError: the model's backend has no batches.
    """
    from understudy.batch.answerer import BatchAnswerer
    from understudy.engine.batch_refusals import batcher

    options["backend"] = batcher(engine, options["ref"].backend)
    return BatchAnswerer(engine, op, **options)
