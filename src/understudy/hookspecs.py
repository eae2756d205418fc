"""Hook specifications of the plugin host (pluggy), and the records that hooks yield.

A plugin is a module behind an entry point of the group ``understudy``. It implements any of
these hooks with ``hookimpl`` and yields data that points to code (``"package.module:name"``);
the code is imported when it is first used, so a heavy plugin costs nothing at start-up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import pluggy
from pydantic import BaseModel

from understudy.backend import API_VERSION, BackendSpec, Clock, Params
from understudy.backend import Settings as BackendSettings
from understudy.model import (
    Conversation,
    DatasetItem,
    Delivery,
    Drop,
    ExperimentRun,
    Json,
    Score,
    SinkReport,
    TracedCall,
    TracePage,
    TraceRecord,
)

__all__ = [
    "API_VERSION",
    "PROJECT",
    "CacheStoreSpec",
    "CommandSpec",
    "FileReader",
    "Filter",
    "FilterSpec",
    "LineReader",
    "PriceTable",
    "ScoreSink",
    "ScoreSinkSpec",
    "ScorerSpec",
    "TraceSink",
    "TraceSinkSpec",
    "TraceSource",
    "TraceSourceSpec",
    "hookimpl",
]

PROJECT = "understudy"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's implementation of a hook."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandSpec:
    """A CLI command that a plugin brings.

    ``name`` may have two words (``"serve sandbox"``); ``target`` is a function with Typer
    annotations, imported when the command is run or its own help is asked for.
    """

    name: str
    target: str
    help: str
    api: str = ">=1,<2"


@dataclass(frozen=True, kw_only=True, slots=True)
class ScorerSpec:
    """A scorer: ``target`` is ``(answer: str, reference: str) -> float`` with a value in [0, 1]."""

    name: str
    target: str
    help: str
    api: str = ">=1,<2"


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheStoreSpec:
    """A store of precomputed answers for URLs of the scheme ``name`` (``"lmdb"`` for lmdb://...).

    ``target`` is ``(url: str, options: understudy.cache.CacheOptions) -> CacheStore``; the
    contract is ``understudy.cache.CacheStore``, its tests ``understudy.testing.CacheStoreSuite``.
    ``install`` is the command that installs what the target imports.
    """

    name: str
    target: str
    help: str
    install: str = ""
    api: str = ">=1,<2"


@dataclass(frozen=True, kw_only=True, slots=True)
class PriceTable:
    """Prices of training and hosting: a TOML file in the form of costs/training_prices.toml."""

    name: str
    path: str
    api: str = ">=1,<2"


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceSourceSpec:
    """A source of logged calls; ``name`` is what recipes write as ``source.kind``.

    ``reads`` says what ``target`` is: "lines" a ``LineReader`` (JSONL, one JSON object a line,
    read in parallel), "file" a ``FileReader``, "service" a ``TraceSource`` that is asked over the
    network and can resume.
    """

    name: str
    target: str
    help: str
    reads: Literal["lines", "file", "service"]
    api: str = ">=1,<2"


class LineReader(Protocol):
    """Reads a JSONL file line by line. Made as ``target(options=Options(...))``."""

    Options: ClassVar[type[BaseModel]]
    """``[source.options]`` of the recipe; ``Params`` where there are none."""

    def calls(self, value: Mapping[str, Json]) -> Iterable[TraceRecord]:
        """The calls in the object on one line; none where it holds something else."""
        ...


class FileReader(Protocol):
    """Reads a whole file as a stream. Made as ``target(options=Options(...))``."""

    Options: ClassVar[type[BaseModel]]

    def read(self, path: Path) -> Iterator[TraceRecord]:
        """The calls in the file, each with the line or row where it stands.

        Raises:
            DataError: the file itself cannot be read.
        """
        ...


class TraceSource(ABC):
    """A service that keeps calls. The constructor does no I/O.

    The core stores every page with its watermark before it asks for the next one, so a killed
    pull goes on from the last stored page.

    Args:
        settings: ``[services.NAME]`` of understudy.toml and the environment, as ``Settings``.
        options: ``[source.options]`` of the recipe, as ``Options``.
        clock: the project's clock.
    """

    Settings: ClassVar[type[BackendSettings]] = BackendSettings
    Options: ClassVar[type[BaseModel]] = Params

    def __init__(self, *, settings: BackendSettings, options: BaseModel, clock: Clock) -> None:
        self.settings, self.options, self.clock = settings, options, clock

    @abstractmethod
    def pages(self, since: Json | None) -> Iterator[TracePage]:
        """What came after ``since``, a watermark of this source; all that there is for None.

        A source that has nothing new yields no page, or one without records.

        Raises:
            BackendError: AuthError, NotFound, RateLimited, Unavailable ... in words; transient
                ones after the source's own patience has run out.
        """

    def close(self) -> None:  # noqa: B027 - many have nothing to give back
        """Give connections back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterSpec:
    """A cleaning filter; ``name`` is what recipes write as ``use``, and the reason code.

    ``target`` is a ``Filter``.
    """

    name: str
    target: str
    help: str
    api: str = ">=1,<2"


class Filter(Protocol):
    """A cleaning filter. Made as ``target(options=Options(...))``, in each process that cleans.

    ``Options`` are the fields beside ``use`` in ``[[cleaning.filters]]``. It is pure: the same
    row always gets the same word, and no other row matters.
    """

    Options: ClassVar[type[BaseModel]]

    def check(self, row: Conversation) -> Conversation | Drop | None:
        """None keeps the row, ``Drop`` leaves it out, a ``Conversation`` takes its place."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceSinkSpec:
    """Where calls that were answered here are told; ``target`` is a ``TraceSink``."""

    name: str
    target: str
    help: str
    api: str = ">=1,<2"


class TraceSink(ABC):
    """A service that is told of every call. The constructor does no I/O.

    No call is lost: ``capture`` has put it on disk when it returns, and ``deliver`` forgets it
    only when the service has taken it. The service may be sent a call twice, never two of it.

    Args:
        settings: ``[services.NAME]`` of understudy.toml and the environment, as ``Settings``.
        folder: where waiting calls lie; one process at a time uses it.
        clock: the project's clock.
    """

    Settings: ClassVar[type[BackendSettings]] = BackendSettings

    def __init__(self, *, settings: BackendSettings, folder: Path, clock: Clock) -> None:
        self.settings, self.folder, self.clock = settings, folder, clock

    @abstractmethod
    def capture(self, calls: Iterable[TracedCall]) -> None:
        """Put calls on disk, to be delivered."""

    @abstractmethod
    def deliver(self) -> Delivery:
        """Send what waits, once: never sleeps, never raises for trouble of the service."""

    def close(self) -> None:  # noqa: B027 - some have nothing to give back
        """Give connections and files back; what waits stays on disk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreSinkSpec:
    """Where scores and experiments are written; ``target`` is a ``ScoreSink``."""

    name: str
    target: str
    help: str
    api: str = ">=1,<2"


class ScoreSink(ABC):
    """A service that keeps scores, datasets and experiments. The constructor does no I/O.

    Everything has an id of its own, so that writing it again changes nothing. All methods raise
    ``BackendError`` (AuthError, NotFound, RateLimited, Unavailable ...) in words; transient ones
    after the sink's own patience has run out.

    Args:
        settings: ``[services.NAME]`` of understudy.toml and the environment, as ``Settings``.
        clock: the project's clock.
    """

    Settings: ClassVar[type[BackendSettings]] = BackendSettings

    def __init__(self, *, settings: BackendSettings, clock: Clock) -> None:
        self.settings, self.clock = settings, clock

    @abstractmethod
    def write_scores(self, scores: Iterable[Score]) -> SinkReport:
        """Attach scores to calls."""

    @abstractmethod
    def write_items(self, dataset: str, items: Iterable[DatasetItem]) -> SinkReport:
        """Put items into a dataset, which is made where it is absent."""

    @abstractmethod
    def write_experiment(self, run: ExperimentRun) -> SinkReport:
        """Write an evaluation: its items with their scores, and the scores of the whole."""

    def close(self) -> None:  # noqa: B027 - some have nothing to give back
        """Give connections back."""


@hookspec
def understudy_backends() -> Iterable[BackendSpec]:  # type: ignore[empty-body]
    """Backends that fine-tune."""


@hookspec
def understudy_commands() -> Iterable[CommandSpec]:  # type: ignore[empty-body]
    """Commands for the CLI."""


@hookspec
def understudy_scorers() -> Iterable[ScorerSpec]:  # type: ignore[empty-body]
    """Scorers for evaluation."""


@hookspec
def understudy_price_tables() -> Iterable[PriceTable]:  # type: ignore[empty-body]
    """Price tables that take precedence over the core's."""


@hookspec
def understudy_trace_sources() -> Iterable[TraceSourceSpec]:  # type: ignore[empty-body]
    """Sources of logged calls."""


@hookspec
def understudy_filters() -> Iterable[FilterSpec]:  # type: ignore[empty-body]
    """Cleaning filters."""


@hookspec
def understudy_trace_sinks() -> Iterable[TraceSinkSpec]:  # type: ignore[empty-body]
    """Services that are told of every call."""


@hookspec
def understudy_score_sinks() -> Iterable[ScoreSinkSpec]:  # type: ignore[empty-body]
    """Services that keep scores and experiments."""


@hookspec
def understudy_cache_stores() -> Iterable[CacheStoreSpec]:  # type: ignore[empty-body]
    """Stores of precomputed answers, by URL scheme."""
