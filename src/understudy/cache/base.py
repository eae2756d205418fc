"""The contract of a store of precomputed answers: generations, the tail, and who may switch.

A *cache* has a name (an alias or a model) and any number of *generations*, of which at most one
is current. A generation is filled by a ``GenerationWriter``, unseen, and becomes visible whole by
one switch; the one before stays for rollback. Live answers go into the *tail*, beside the
generations, and are carried into the next one.

Keys are the 32 raw bytes of the fingerprint's SHA-256 (``key_of``). They hold the model version,
so answers of two versions never meet. Values are opaque bytes to a store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

from understudy.errors import ConfigError, DataError
from understudy.model import Json

__all__ = [
    "KEY_BYTES",
    "CacheStats",
    "CacheStore",
    "CacheView",
    "Generation",
    "GenerationState",
    "GenerationSwitched",
    "GenerationWriter",
    "Row",
    "TailRow",
    "check_name",
    "key_of",
]

KEY_BYTES = 32
"""Length of every key."""

Row = tuple[bytes, bytes]
"""A key and a value."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")
_FINGERPRINT = re.compile(r"u1:[0-9a-f]{64}")


class GenerationState(StrEnum):
    """Where a generation stands. Only *ready* ones can be current or rolled back to."""

    WRITING = "writing"
    READY = "ready"


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """One generation as its store describes it.

    ``entries`` and ``bytes`` (of values, as stored) are known once it is ready. ``base`` is the
    generation that was current when this one was begun: the publisher's compare-and-set.
    ``order`` counts publications of the cache from 1; None before. ``expires_at`` is in seconds
    since the epoch: from then on nothing is read from it.
    """

    cache: str
    id: str
    model: str
    state: GenerationState
    current: bool
    created_at: float
    published_at: float | None = None
    order: int | None = None
    expires_at: float | None = None
    entries: int = 0
    bytes: int = 0
    base: str | None = None
    codec: str = "plain"
    meta: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, kw_only=True, slots=True)
class TailRow:
    """A live answer to keep until the next generation.

    ``expires_at`` in seconds since the epoch, None for never. ``carried``: whether it goes into
    the next generation; a refusal does not.
    """

    key: bytes
    value: bytes
    expires_at: float | None = None
    carried: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheStats:
    """A cache as it stands. Sizes in bytes; ``counts`` are what cascades counted over all time."""

    cache: str
    store: str
    current: Generation | None
    generations: int
    tail_entries: int
    tail_bytes: int
    disk_bytes: int | None
    counts: Mapping[str, int]


class GenerationSwitched(Exception):  # noqa: N818 - no error: the reader looks again
    """The generation that a view is pinned to is not current any more; take a new view."""


class CacheView(Protocol):
    """One generation, pinned: everything read through one view is of that generation."""

    @property
    def generation(self) -> Generation | None:
        """The pinned generation; None where the cache has none (or an expired one)."""
        ...

    def get(self, key: bytes) -> bytes | None:
        """The value in the generation. Raises ``GenerationSwitched`` where it is gone."""
        ...

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Those that are there. Raises ``GenerationSwitched`` where the generation is gone."""
        ...


class GenerationWriter(Protocol):
    """Fills one generation that nobody sees yet. Opened again after a crash, it goes on.

    Many processes may fill one generation side by side.
    """

    @property
    def generation(self) -> Generation:
        """The generation as of the last call."""
        ...

    def put(self, rows: Iterable[Row], *, source: str | None = None) -> int:
        """Add rows, in any order; of equal keys the last one counts. How many there were.

        With a ``source`` (a batch's id), all of these rows and the note that the source is in
        become durable together, as far as the store can; a source that is in already is not read
        again, and 0 comes back. Without one, rows are durable when the call returns.

        Raises:
            DataError: a key is not 32 bytes, or a value or the generation is over its size limit.
                The source is not in then; a store with transactions kept no row of this call.
            StaleRecord: the generation is published or abandoned.
        """
        ...

    def sources(self) -> frozenset[str]:
        """Sources that are wholly in; known after publication too."""
        ...

    def carry(self, keys: Iterable[bytes] | None = None, *, tail: bool = True) -> int:
        """Take over what is readable now, and say how many rows that were.

        Those of ``keys``, or everything of the current generation if it is of the same model,
        and (``tail``) the live answers. Never replaces a row that was put; doing it again changes
        nothing, and into a generation that is ready nothing is carried any more.
        """
        ...

    def count(self) -> int:
        """Distinct keys so far. Reads the keys: for a last check, not for every row."""
        ...

    def publish(self, *, force: bool = False) -> Generation:
        """Make the generation visible, whole, by one switch. Publishing it again changes nothing.

        May be killed at any point and called again.

        Args:
            force: switch even though another generation was published since this one was begun.

        Raises:
            StaleRecord: another generation became current since; nothing was switched.
        """
        ...

    def abandon(self) -> None:
        """Throw away what was put. Of a published generation: an error."""
        ...

    def close(self) -> None:
        """Give connections back; what was put stays."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class CacheStore(Protocol):
    """A store of caches; safe to use from many threads.

    Every method may raise ``Unavailable`` where the store is reached over a network.
    """

    @property
    def shown(self) -> str:
        """Where it is, for people: without password."""
        ...

    def caches(self) -> Sequence[str]:
        """Names of all caches, sorted."""
        ...

    def view(self, cache: str) -> CacheView:
        """The current generation, pinned. Cheap: taken anew for every read."""
        ...

    def get(self, cache: str, key: bytes) -> bytes | None:
        """The value in the current generation, else in the tail."""
        ...

    def get_many(self, cache: str, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Those that are there, all of one generation, else answers (no refusals) of the tail."""
        ...

    def known(self, cache: str, keys: Sequence[bytes]) -> set[bytes]:
        """Which of ``keys`` ``get_many`` would find. Quickest where they come sorted."""
        ...

    def put_tail(self, cache: str, rows: Sequence[TailRow]) -> None:
        """Keep live answers; the same again changes nothing. Over the limit, the oldest go."""
        ...

    def get_tail(self, cache: str, key: bytes) -> bytes | None:
        """A live answer that has not expired."""
        ...

    def writer(
        self,
        cache: str,
        generation: str,
        *,
        model: str,
        ttl: float | None = None,
        meta: Mapping[str, Json] | None = None,
    ) -> GenerationWriter:
        """Begin the generation ``generation``, or go on with it.

        Args:
            cache: name of the cache; made if it is not there.
            generation: an id chosen by the caller (a run's), so that it is found after a crash.
            model: the model version whose answers these are.
            ttl: seconds after publication from which nothing is read from it.
            meta: kept with it, small: recipe, coverage, cost.

        Raises:
            ConfigError: a name cannot be one.
            StaleRecord: it is there for another model.
        """
        ...

    def generations(self, cache: str) -> Sequence[Generation]:
        """All of them, newest first."""
        ...

    def scan(self, cache: str, generation: str | None = None) -> Iterator[Row]:
        """Every row of a generation (default: the current one), streamed; the tail is not in it.

        Raises:
            ConfigError: there is none.
        """
        ...

    def scan_tail(self, cache: str) -> Iterator[TailRow]:
        """Every live answer that has not expired, streamed."""
        ...

    def rollback(self, cache: str, to: str | None = None) -> Generation:
        """Switch to ``to``, or to the ready generation published before the current one.

        Raises:
            ConfigError: there is none.
        """
        ...

    def prune(self, cache: str, *, keep: int = 2) -> Sequence[Generation]:
        """Delete all but the ``keep`` newest published generations, and tail rows of no use.

        Those are expired, or stand in every generation that is kept. Never deletes the current
        generation, nor one that is being written.
        """
        ...

    def add_counts(self, cache: str, counts: Mapping[str, int]) -> None:
        """Add to the cache's counters (hits, misses, nano-dollars)."""
        ...

    def stats(self, cache: str) -> CacheStats:
        """The cache as it stands."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...


def key_of(fingerprint: str) -> bytes:
    """The key of a fingerprint: the 32 bytes behind ``u1:``.

    Raises:
        DataError: it is not one.
    """
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise DataError(
            f"{fingerprint[:80]!r} is no fingerprint; it is `u1:` and 64 lower-case hex digits"
        )
    return bytes.fromhex(fingerprint[3:])


def check_name(name: str, what: str) -> str:
    """``name`` itself, where it can name a cache or a generation, in files and in keys.

    Raises:
        ConfigError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name a {what}: use letters, digits and . _ @ -, beginning with a "
            "letter or digit, at most 100 characters"
        )
    return name
