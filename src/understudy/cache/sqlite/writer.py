"""Filling a generation: rows are staged as they come, and sorted into its file once, at the end.

A B-tree that is filled in key order is written ten times as fast as one that is filled at random,
and SQLite sorts outside of memory. Each step can be killed and done again: the staging file is
thrown away only when the finished one counts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from understudy.cache.base import Generation, GenerationState, Row
from understudy.cache.codec import Codec
from understudy.cache.options import CacheOptions
from understudy.cache.shared import StoreBase, WriterBase, chunks, require_base
from understudy.cache.sqlite.files import connect, delete, ensure, settle, transaction
from understudy.cache.sqlite.index import Index
from understudy.errors import StaleRecord

__all__ = ["SqliteWriter", "staging_of"]

_SCHEMA = """
CREATE TABLE put (key BLOB NOT NULL, value BLOB NOT NULL);
CREATE TABLE carried (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE sources (source TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE size (bytes INTEGER NOT NULL);
INSERT INTO size VALUES (0);
"""
# What was put wins over what was carried, and of what was put the last.
_ALL = (
    "SELECT key, value FROM ("
    "SELECT key, value, 0 AS place FROM staging.carried UNION ALL "
    "SELECT key, value, rowid FROM staging.put) ORDER BY key, place"
)
_PUT = "SELECT key, value FROM staging.put ORDER BY key, rowid"
_AT_ONCE = 5_000
_MEMORY_KIB = 16_384
"""What the sort, and the new file, may each hold in memory. More was no quicker."""


def staging_of(folder: Path, generation: str) -> Path:
    """The staging file of a generation."""
    return folder / f"{generation}.staging.db"


class SqliteWriter(WriterBase):
    """See ``GenerationWriter``. Made by ``SqliteCache.writer``."""

    def __init__(
        self, store: StoreBase, index: Index, generation: Generation, options: CacheOptions
    ) -> None:
        super().__init__(options)
        self._cache = store
        self._index = index
        self._generation = generation
        self._path = staging_of(index.folder, generation.id)
        self._staging: sqlite3.Connection | None = None

    @property
    def generation(self) -> Generation:
        """See ``GenerationWriter.generation``."""
        return self._generation

    def sources(self) -> frozenset[str]:
        """See ``GenerationWriter.sources``."""
        self._refresh()
        if self._generation.state is GenerationState.WRITING:
            return _sources(self._open())
        with self._index.looking() as index:
            return self._index.sources(index, self._generation.id)

    def count(self) -> int:
        """See ``GenerationWriter.count``."""
        self._refresh()
        if self._generation.state is not GenerationState.WRITING:
            return self._generation.entries
        query = "SELECT count(*) FROM (SELECT key FROM put UNION SELECT key FROM carried)"
        return int(self._open().execute(query).fetchone()[0])

    def publish(self, *, force: bool = False) -> Generation:
        """See ``GenerationWriter.publish``."""
        self._refresh()
        if self._generation.state is GenerationState.WRITING:
            self._seal()
            self._refresh()
        with self._index.changing() as index:
            current = self._index.current(index)
            if self._generation.order is None:
                if not force:
                    require_base(self._generation, None if current is None else current.id)
                self._index.switch(index, self._generation.id, at=self._options.clock.now())
        self.close()
        delete(self._path)
        return self._refresh()

    def abandon(self) -> None:
        """See ``GenerationWriter.abandon``."""
        with self._index.changing() as index:
            found = self._index.get(index, self._generation.id)
            if found is not None and found.order is not None:
                raise StaleRecord(
                    f"generation {found.id!r} of cache {found.cache!r} is published; roll back "
                    "and prune instead of abandoning it"
                )
            self._index.remove(index, self._generation.id)
        self.close()
        for path in (self._path, self._part, self._file):
            delete(path)

    def close(self) -> None:
        """See ``GenerationWriter.close``."""
        if self._staging is not None:
            self._staging.close()
            self._staging = None

    @property
    def _file(self) -> Path:
        return self._index.folder / f"{self._generation.id}.db"

    @property
    def _part(self) -> Path:
        return self._index.folder / f"{self._generation.id}.db.part"

    def _store(self) -> StoreBase:
        return self._cache

    def _refresh(self) -> Generation:
        with self._index.looking() as index:
            found = self._index.get(index, self._generation.id)
        if found is None:
            self._require_writing(None)
        else:
            self._generation = found
        return self._generation

    def _open(self) -> sqlite3.Connection:
        if self._staging is None:
            ensure(self._path, _SCHEMA)
            self._staging = connect(self._path)
        return self._staging

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction on the staging file of a generation that is still being written.

        It also keeps out everybody who wants to put or to seal.
        """
        self._require_writing(self._refresh().state)
        with transaction(self._open()) as staging:
            # Sealed while this waited: then the staging file is gone or about to go.
            self._require_writing(self._refresh().state)
            yield staging

    def _codec(self) -> Codec | None:
        with self._index.looking() as index:
            return self._index.codec(index, self._generation.id)

    def _decide(self, dictionary: bytes) -> Codec:
        with self._index.changing() as index:
            index.execute(
                "UPDATE generations SET dictionary = ? WHERE id = ? AND dictionary IS NULL",
                (dictionary, self._generation.id),
            )
            return self._index.codec(index, self._generation.id) or Codec()

    def _write(self, rows: Iterable[Row], *, source: str | None, carried: bool) -> int:
        written = 0
        with self._writing() as staging:
            if source is not None:
                added = staging.execute("INSERT OR IGNORE INTO sources VALUES (?)", (source,))
                if added.rowcount == 0:
                    return 0
            (size,) = staging.execute("SELECT bytes FROM size").fetchone()
            insert = "INSERT OR IGNORE INTO carried" if carried else "INSERT INTO put"
            for part in chunks(rows, _AT_ONCE):
                staging.executemany(f"{insert} VALUES (?, ?)", part)
                written += len(part)
                size += sum([len(value) for _, value in part])
                if over := self._over(size):
                    raise over
            if not carried:
                staging.execute("UPDATE size SET bytes = ?", (size,))
        return written

    def _seal(self) -> None:
        """Sort what is staged into the generation's file, unless somebody else just did."""
        with suppress(StaleRecord), self._writing() as staging:
            carried = staging.execute("SELECT EXISTS (SELECT 1 FROM carried)").fetchone()[0]
            delete(self._part)
            with closing(sqlite3.connect(self._part, isolation_level=None)) as made:
                entries, size = self._fill(made, _ALL if carried else _PUT)
            settle(self._part, self._file)
            with self._index.changing() as index:
                self._index.seal(
                    index,
                    self._generation.id,
                    entries=entries,
                    size=size,
                    sources=_sources(staging),
                )

    def _fill(self, made: sqlite3.Connection, rows: str) -> tuple[int, int]:
        # Nobody sees this file before it is whole and on the disk, so it needs no journal.
        made.execute("PRAGMA journal_mode = OFF")
        made.execute("PRAGMA synchronous = OFF")
        made.execute(f"PRAGMA cache_size = -{_MEMORY_KIB}")
        made.execute("CREATE TABLE entries (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
        made.execute("ATTACH ? AS staging", (str(self._path),))
        made.execute("BEGIN")
        made.execute(f"INSERT OR REPLACE INTO entries {rows}")
        made.execute("COMMIT")
        counted = made.execute("SELECT count(*), coalesce(sum(length(value)), 0) FROM entries")
        entries, size = counted.fetchone()
        return entries, size


def _sources(staging: sqlite3.Connection) -> frozenset[str]:
    return frozenset(source for (source,) in staging.execute("SELECT source FROM sources"))
