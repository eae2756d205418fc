"""The embedded store on files: writers and readers on one host, no server."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from understudy.cache.base import (
    CacheStats,
    Generation,
    GenerationState,
    GenerationSwitched,
    Row,
    TailRow,
    check_name,
)
from understudy.cache.codec import Codec
from understudy.cache.options import CacheOptions
from understudy.cache.shared import (
    NoGeneration,
    StoreBase,
    find_generation,
    pick_previous,
    pick_pruned,
    require_model,
)
from understudy.cache.sqlite.files import connect, connect_frozen, delete
from understudy.cache.sqlite.index import Index
from understudy.cache.sqlite.reader import FrozenFile, Reader
from understudy.cache.sqlite.tail import Tail
from understudy.cache.sqlite.writer import SqliteWriter, staging_of
from understudy.errors import ConfigError
from understudy.model import Json

__all__ = ["SqliteCache", "open_sqlite"]


def open_sqlite(url: str, options: CacheOptions) -> SqliteCache:
    """The store behind ``sqlite:///folder`` (three slashes: relative; four: absolute)."""
    parts = urlsplit(url)
    if parts.netloc or len(parts.path) < 2:
        raise ConfigError(
            f"{url}: the embedded cache is a folder, written sqlite:///folder or "
            "sqlite:////absolute/folder"
        )
    return SqliteCache(Path(unquote(parts.path[1:])), options)


class SqliteCache(StoreBase):
    """See ``CacheStore``.

    Args:
        root: folder of all caches; made when something is first written.
        options: clock, compression and limits.
    """

    def __init__(self, root: Path, options: CacheOptions | None = None) -> None:
        self.root = root.absolute()
        self.options = options or CacheOptions()
        self._thread = threading.local()
        self._readers: weakref.WeakSet[Reader] = weakref.WeakSet()
        self._lock = threading.Lock()

    @property
    def shown(self) -> str:
        """See ``CacheStore.shown``."""
        return str(self.root)

    def caches(self) -> Sequence[str]:
        """See ``CacheStore.caches``."""
        if not self.root.is_dir():
            return []
        made = ("index.db", "tail.db")
        return sorted(
            folder.name
            for folder in self.root.iterdir()
            if any((folder / name).exists() for name in made)
        )

    def view(self, cache: str) -> FrozenFile | NoGeneration:
        """See ``CacheStore.view``."""
        try:
            reader: Reader = self._thread.readers[cache]
        except (AttributeError, KeyError):
            reader = self._reader(cache)
        return reader.view()

    def tail_values(
        self, cache: str, keys: Sequence[bytes], *, refusals: bool
    ) -> Mapping[bytes, bytes]:
        """See ``StoreBase.tail_values``."""
        reader = self._reader(cache)
        tail = self._tail(cache)
        if reader.tail is None:
            if not tail.path.exists():
                return {}
            reader.tail = connect(tail.path)
        return tail.values(reader.tail, keys, self.options.clock.now(), refusals=refusals)

    def known(self, cache: str, keys: Sequence[bytes]) -> set[bytes]:
        """See ``CacheStore.known``."""
        while True:
            view = self.view(cache)
            try:
                found = view.known(keys) if isinstance(view, FrozenFile) else set()
            except GenerationSwitched:
                continue
            missing = [key for key in keys if key not in found]
            return found | self.tail_values(cache, missing, refusals=False).keys()

    def put_tail(self, cache: str, rows: Sequence[TailRow]) -> None:
        """See ``CacheStore.put_tail``."""
        self._tail(cache).put(rows, limit=self.options.max_tail_bytes)

    def writer(
        self,
        cache: str,
        generation: str,
        *,
        model: str,
        ttl: float | None = None,
        meta: Mapping[str, Json] | None = None,
    ) -> SqliteWriter:
        """See ``CacheStore.writer``."""
        index = self._index(cache)
        index.make()
        wanted = Generation(
            cache=cache,
            id=check_name(generation, "generation"),
            model=model,
            state=GenerationState.WRITING,
            current=False,
            created_at=self.options.clock.now(),
            meta=meta or {},
        )
        with index.changing() as connection:
            found = index.get(connection, generation)
            if found is None:
                index.add(connection, wanted, ttl=ttl)
                found = index.get(connection, generation)
        assert found is not None
        require_model(found, model)
        return SqliteWriter(self, index, found, self.options)

    def generations(self, cache: str) -> Sequence[Generation]:
        """See ``CacheStore.generations``."""
        index = self._index(cache)
        if not index.path.exists():
            return []
        with index.looking() as connection:
            return index.all(connection)

    def scan(self, cache: str, generation: str | None = None) -> Iterator[Row]:
        """See ``CacheStore.scan``. In the order of the keys."""
        found = find_generation(cache, self.generations(cache), generation)
        index = self._index(cache)
        with index.looking() as connection:
            unpack = (index.codec(connection, found.id) or Codec()).unpack
        with closing(connect_frozen(index.folder / f"{found.id}.db")) as connection:
            for key, value in connection.execute("SELECT key, value FROM entries ORDER BY key"):
                yield key, unpack(value)

    def scan_tail(self, cache: str) -> Iterator[TailRow]:
        """See ``CacheStore.scan_tail``."""
        return self._tail(cache).scan(self.options.clock.now())

    def rollback(self, cache: str, to: str | None = None) -> Generation:
        """See ``CacheStore.rollback``."""
        chosen = pick_previous(cache, self.generations(cache), to)
        index = self._index(cache)
        with index.changing() as connection:
            # Looked at again now that nobody else can switch or prune.
            chosen = pick_previous(cache, index.all(connection), to)
            index.point(connection, chosen.id)
        with index.looking() as connection:
            return index.get(connection, chosen.id) or chosen

    def prune(self, cache: str, *, keep: int = 2) -> Sequence[Generation]:
        """See ``CacheStore.prune``."""
        index = self._index(cache)
        gone: Sequence[Generation] = []
        kept: Sequence[Generation] = []
        if index.path.exists():
            with index.changing() as connection:
                kept, gone = pick_pruned(index.all(connection), keep)
                for generation in gone:
                    index.remove(connection, generation.id)
            for generation in gone:
                delete(index.folder / f"{generation.id}.db")
                delete(staging_of(index.folder, generation.id))
        self._tail(cache).prune(self.useless_tail(cache, kept), self.options.clock.now())
        return gone

    def add_counts(self, cache: str, counts: Mapping[str, int]) -> None:
        """See ``CacheStore.add_counts``."""
        self._tail(cache).add_counts(counts)

    def stats(self, cache: str) -> CacheStats:
        """See ``CacheStore.stats``."""
        found = self.generations(cache)
        entries, size, counts = self._tail(cache).stats()
        files = self._index(cache).folder.glob("*")
        return CacheStats(
            cache=cache,
            store=self.shown,
            current=next((g for g in found if g.current), None),
            generations=len(found),
            tail_entries=entries,
            tail_bytes=size,
            disk_bytes=sum(file.stat().st_size for file in files),
            counts=counts,
        )

    def values_in(
        self, cache: str, generation: Generation, keys: Sequence[bytes]
    ) -> Mapping[bytes, bytes]:
        """See ``StoreBase.values_in``."""
        index = self._index(cache)
        with index.looking() as connection:
            codec = index.codec(connection, generation.id) or Codec()
        with closing(FrozenFile(generation, index.folder / f"{generation.id}.db", codec)) as opened:
            return opened.get_many(keys)

    def close(self) -> None:
        """Close the files of all threads."""
        with self._lock:
            readers, self._readers = list(self._readers), weakref.WeakSet()
        self._thread = threading.local()
        for reader in readers:
            reader.close()

    def _index(self, cache: str) -> Index:
        return Index(self.root / check_name(cache, "cache"))

    def _tail(self, cache: str) -> Tail:
        return Tail(self.root / check_name(cache, "cache"))

    def _reader(self, cache: str) -> Reader:
        try:
            readers: dict[str, Reader] = self._thread.readers
        except AttributeError:
            readers = self._thread.readers = {}
        if cache not in readers:
            made = readers[cache] = Reader(
                self._index(cache), clock=self.options.clock, fresh_for=self.options.fresh_for
            )
            with self._lock:
                self._readers.add(made)
        return readers[cache]
