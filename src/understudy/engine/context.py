"""What every step of the engine needs, in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Protocol

from understudy.backend import Backend, Capabilities, Clock
from understudy.costs.prices import PriceBook
from understudy.engine.operations import Operation
from understudy.engine.points import Reach, nowhere
from understudy.evaluate import Scorer
from understudy.infer import Answerer
from understudy.store import Store

__all__ = ["Backends", "Engine", "Timing"]


class Backends(Protocol):
    """Where the engine gets backends and scorers from; the plugin host in production."""

    def backend(self, name: str) -> Backend:
        """The configured backend of that name, made once."""
        ...

    def capabilities(self, name: str) -> Capabilities:
        """What that backend says of itself, without importing it."""
        ...

    def scorer(self, name: str) -> Scorer:
        """The scorer of that name."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Seconds on the injected clock.

    ``send_window`` is how long after the stored intent a paid request may still begin; the lease
    must outlast it and the request itself.
    """

    lease: float = 180.0
    send_window: float = 30.0
    poll_shortest: float = 5.0
    poll_longest: float = 120.0
    answer_timeout: float = 60.0
    """Real seconds for one live completion."""
    give_up_after: int = 8
    """Unexpected failures in a row before a person is asked."""


@dataclass(kw_only=True)
class Engine:
    """The engine's dependencies. Nothing here is a global."""

    store: Store
    backends: Backends
    prices: PriceBook
    clock: Clock
    data_root: Path
    timing: Timing = field(default_factory=Timing)
    reach: Reach = nowhere
    notify: Callable[[str, str, int, int], None] = lambda *_: None
    """Called with job id, stage, done and total while long work goes on."""
    worker: str = "worker"
    batch_root: Path = Path(".understudy/batches")
    """Folder of the runs that ask by batch; workers on other hosts must see the same."""
    kinds: Mapping[str, Callable[[Engine, Operation], None]] = field(default_factory=dict)
    """Steps of further kinds of operations, handed in by the packages that bring them."""
    batch_answerer: Callable[..., Answerer] | None = None
    """Makes a ``batch.BatchAnswerer``; handed in, as the package is above the engine."""
    lock: Lock = field(default_factory=Lock)

    def now(self) -> float:
        """The injected clock's time."""
        return self.clock.now()
