"""What every store does alike: reading past a switch, checking and packing rows, carrying over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from types import TracebackType
from typing import Self

from understudy.cache.base import (
    KEY_BYTES,
    CacheView,
    Generation,
    GenerationState,
    GenerationSwitched,
    Row,
    TailRow,
)
from understudy.cache.codec import Codec, learn
from understudy.cache.options import CacheOptions
from understudy.errors import ConfigError, DataError, StaleRecord

__all__ = [
    "NO_GENERATION",
    "NoGeneration",
    "StoreBase",
    "WriterBase",
    "chunks",
    "find_generation",
    "pick_previous",
    "pick_pruned",
    "require_base",
    "require_model",
]

_SAMPLE = 10_000
_CHUNK = 1_000


def chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """``rows`` in lists of at most ``size``."""
    rows = iter(rows)
    while part := list(islice(rows, size)):
        yield part


class NoGeneration:
    """The view of a cache without a generation that can be read."""

    generation: Generation | None = None

    def get(self, key: bytes) -> bytes | None:  # noqa: ARG002 - the form of a view
        """Nothing."""
        return None

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:  # noqa: ARG002
        """Nothing."""
        return {}


NO_GENERATION = NoGeneration()


class StoreBase(ABC):
    """Reads on top of ``view``: when the generation goes away meanwhile, they look again."""

    @abstractmethod
    def view(self, cache: str) -> CacheView:
        """See ``CacheStore.view``."""

    @abstractmethod
    def tail_values(
        self, cache: str, keys: Sequence[bytes], *, refusals: bool
    ) -> Mapping[bytes, bytes]:
        """Live answers that have not expired, and what is not carried if ``refusals``."""

    @abstractmethod
    def scan(self, cache: str, generation: str | None = None) -> Iterator[Row]:
        """See ``CacheStore.scan``."""

    @abstractmethod
    def scan_tail(self, cache: str) -> Iterator[TailRow]:
        """See ``CacheStore.scan_tail``."""

    @abstractmethod
    def values_in(
        self, cache: str, generation: Generation, keys: Sequence[bytes]
    ) -> Mapping[bytes, bytes]:
        """Those that a generation has, be it the current one or not."""

    @abstractmethod
    def close(self) -> None:
        """See ``CacheStore.close``."""

    def useless_tail(self, cache: str, kept: Sequence[Generation]) -> list[bytes]:
        """Keys of the tail that every generation in ``kept`` has too."""
        useless: list[bytes] = []
        rows = self.scan_tail(cache) if kept else iter(())
        while part := [row.key for row in islice(rows, _CHUNK)]:
            keys = part
            for generation in kept:
                held = self.values_in(cache, generation, keys)
                keys = [key for key in keys if key in held]
            useless += keys
        return useless

    def get(self, cache: str, key: bytes) -> bytes | None:
        """See ``CacheStore.get``."""
        while True:
            try:
                value = self.view(cache).get(key)
            except GenerationSwitched:
                continue
            return self.get_tail(cache, key) if value is None else value

    def get_tail(self, cache: str, key: bytes) -> bytes | None:
        """See ``CacheStore.get_tail``."""
        return self.tail_values(cache, [key], refusals=True).get(key)

    def get_many(self, cache: str, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """See ``CacheStore.get_many``."""
        while True:
            try:
                found = dict(self.view(cache).get_many(keys))
            except GenerationSwitched:
                continue
            missing = [key for key in keys if key not in found]
            if missing:
                found |= self.tail_values(cache, missing, refusals=False)
            return found

    def known(self, cache: str, keys: Sequence[bytes]) -> set[bytes]:
        """See ``CacheStore.known``."""
        return set(self.get_many(cache, keys))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class WriterBase(ABC):
    """A writer less the storing itself.

    A store implements ``_codec`` (None while undecided), ``_decide`` (keep a dictionary unless
    another process was first, and say which counts), ``_write``, ``sources`` and the rest of
    ``GenerationWriter``.
    """

    def __init__(self, options: CacheOptions) -> None:
        self._options = options

    @property
    @abstractmethod
    def generation(self) -> Generation:
        """See ``GenerationWriter.generation``."""

    @abstractmethod
    def sources(self) -> frozenset[str]:
        """See ``GenerationWriter.sources``."""

    @abstractmethod
    def close(self) -> None:
        """See ``GenerationWriter.close``."""

    @abstractmethod
    def _refresh(self) -> Generation:
        """``generation``, read anew. Raises ``StaleRecord`` where it was abandoned."""

    @abstractmethod
    def _codec(self) -> Codec | None: ...

    @abstractmethod
    def _decide(self, dictionary: bytes) -> Codec: ...

    @abstractmethod
    def _write(self, rows: Iterable[Row], *, source: str | None, carried: bool) -> int: ...

    @abstractmethod
    def _store(self) -> StoreBase: ...

    def put(self, rows: Iterable[Row], *, source: str | None = None) -> int:
        """See ``GenerationWriter.put``."""
        if source is not None and source in self.sources():
            return 0
        return self._write(self._packed(rows), source=source, carried=False)

    def carry(self, keys: Iterable[bytes] | None = None, *, tail: bool = True) -> int:
        """See ``GenerationWriter.carry``."""
        if self._refresh().state is GenerationState.READY:
            return 0  # killed after it was sealed: what was to be carried is in
        readable, mine = self._store(), self.generation
        if keys is not None:
            rows = _of_keys(readable, mine.cache, keys)
        else:
            present = readable.view(mine.cache).generation
            same = present is not None and present.model == mine.model and present.id != mine.id
            rows = readable.scan(mine.cache, present.id) if present and same else iter(())
        live = _tail_rows(readable, mine.cache) if tail else iter(())
        return self._write(self._packed(chain(rows, live)), source=None, carried=True)

    def _packed(self, rows: Iterable[Row]) -> Iterator[Row]:
        # The dictionary is decided here and now, before the caller begins its transaction.
        rows = iter(rows)
        codec = self._codec()
        head: list[Row] = []
        if codec is None:
            head = list(islice(rows, _SAMPLE))
            dictionary = learn([value for _, value in head]) if self._options.compress else b""
            codec = self._decide(dictionary) if dictionary else Codec()
        return self._checked(chain(head, rows), codec)

    def _checked(self, rows: Iterable[Row], codec: Codec) -> Iterator[Row]:
        pack, longest = codec.packer(), self._options.max_value_bytes
        for key, value in rows:
            if len(key) != KEY_BYTES or len(value) > longest:
                raise _unfit(key, value, longest)
            yield key, pack(value)

    def _over(self, size: int) -> DataError | None:
        """The error for a generation of ``size`` bytes, where that is too much."""
        limit = self._options.max_generation_bytes
        if limit is None or size <= limit:
            return None
        return DataError(
            f"generation {self.generation.id!r} would hold {size:,} bytes of values and may hold "
            f"{limit:,}; raise [cache] max_generation_bytes or precompute fewer keys"
        )

    def _require_writing(self, state: GenerationState | None) -> None:
        if state is not GenerationState.WRITING:
            what = "abandoned" if state is None else "published already"
            raise StaleRecord(
                f"generation {self.generation.id!r} of cache {self.generation.cache!r} is {what}, "
                "so nothing can be put into it; begin another one"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _of_keys(readable: StoreBase, cache: str, keys: Iterable[bytes]) -> Iterator[Row]:
    keys = iter(keys)
    while part := list(islice(keys, _CHUNK)):
        yield from readable.get_many(cache, part).items()


def _tail_rows(readable: StoreBase, cache: str) -> Iterator[Row]:
    return ((row.key, row.value) for row in readable.scan_tail(cache) if row.carried)


def _unfit(key: bytes, value: bytes, longest: int) -> DataError:
    if len(key) != KEY_BYTES:
        return DataError(
            f"a key has {len(key)} bytes; it is the {KEY_BYTES} bytes of a fingerprint's SHA-256 "
            "(understudy.cache.key_of); the call ended there"
        )
    return DataError(
        f"the value under {key.hex()} has {len(value):,} bytes and may have {longest:,}; raise "
        "[cache] max_value_bytes; the call ended there"
    )


def require_base(mine: Generation, current: str | None) -> None:
    """Raise ``StaleRecord`` unless ``current`` is what was current when ``mine`` was begun."""
    if current != mine.base:
        raise StaleRecord(
            f"cache {mine.cache!r} was switched to generation {current!r} while {mine.id!r} was "
            f"being made on top of {mine.base!r}; nothing was switched. Look at both with "
            f"`understudy cache stats {mine.cache}`, then publish with force or abandon it"
        )


def require_model(found: Generation, model: str) -> None:
    """Raise ``StaleRecord`` unless the generation holds answers of ``model``."""
    if found.model != model:
        raise StaleRecord(
            f"generation {found.id!r} of cache {found.cache!r} holds answers of {found.model!r}, "
            f"not of {model!r}; give the new one another id"
        )


def find_generation(
    cache: str, generations: Sequence[Generation], wanted: str | None
) -> Generation:
    """The ready generation ``wanted``, or the current one.

    Raises:
        ConfigError: there is none.
    """
    for generation in generations:
        ready = generation.state is GenerationState.READY
        if ready and (generation.current if wanted is None else generation.id == wanted):
            return generation
    what = "current generation" if wanted is None else f"finished generation {wanted!r}"
    known = ", ".join(g.id for g in generations) or "none"
    raise ConfigError(f"cache {cache!r} has no {what}; its generations: {known}")


def pick_pruned(
    generations: Sequence[Generation], keep: int
) -> tuple[list[Generation], list[Generation]]:
    """The published generations to keep, and those to delete."""
    published = sorted((g for g in generations if g.order is not None), key=_order, reverse=True)
    newest = published[: max(keep, 0)]
    kept = [g for g in published if g.current or g in newest]
    return kept, [g for g in published if g not in kept]


def pick_previous(cache: str, generations: Sequence[Generation], to: str | None) -> Generation:
    """The generation that a rollback leads to.

    Args:
        cache: its name, for the message.
        generations: all there are.
        to: the one asked for, or None for the one published before the current one.

    Raises:
        ConfigError: there is none.
    """
    ready = [g for g in generations if g.order is not None]
    if to is not None:
        for generation in ready:
            if generation.id == to:
                return generation
        known = ", ".join(g.id for g in ready) or "none"
        raise ConfigError(f"cache {cache!r} has no published generation {to!r}; it has {known}")
    current = next((g for g in ready if g.current), None)
    before = [g for g in ready if current is not None and _order(g) < _order(current)]
    if not before:
        than = f"before {current.id!r}" if current else "at all"
        raise ConfigError(f"cache {cache!r} has no generation published {than}; nothing was done")
    return max(before, key=_order)


def _order(generation: Generation) -> int:
    return generation.order or 0
