"""``index.db``: which generations there are, and which one counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson

from understudy.cache.base import Generation, GenerationState
from understudy.cache.codec import Codec
from understudy.cache.sqlite.files import connect, ensure, transaction

__all__ = ["Index"]

_SCHEMA = """
CREATE TABLE generations (
    id TEXT PRIMARY KEY, model TEXT NOT NULL, state TEXT NOT NULL, created_at REAL NOT NULL,
    published_at REAL, published INTEGER, ttl REAL, expires_at REAL,
    entries INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
    base TEXT, dictionary BLOB, meta TEXT NOT NULL
);
CREATE TABLE sources (id TEXT NOT NULL, source TEXT NOT NULL, PRIMARY KEY (id, source));
CREATE TABLE pointer (one INTEGER PRIMARY KEY CHECK (one = 1), current TEXT);
INSERT INTO pointer VALUES (1, NULL);
"""
_RECORDS = """
SELECT id, model, state, created_at, published_at, published, expires_at, entries, bytes, base,
    dictionary IS NOT NULL, meta, id IS (SELECT current FROM pointer), rowid AS place
FROM generations
"""
_ALL = f"SELECT * FROM ({_RECORDS}) ORDER BY created_at DESC, place DESC"  # noqa: S608 - constant
_ONE = f"{_RECORDS} WHERE id = ?"
_CURRENT = f"{_RECORDS} WHERE id = (SELECT current FROM pointer)"  # noqa: S608 - constant


class Index:
    """The index of one cache.

    Args:
        folder: the cache's folder; its name is the cache's.
    """

    def __init__(self, folder: Path) -> None:
        self.cache = folder.name
        self.folder = folder
        self.path = folder / "index.db"

    def make(self) -> None:
        """Make it unless it is there."""
        ensure(self.path, _SCHEMA)

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction on a connection of its own, so that every reader notices the change."""
        with closing(connect(self.path)) as connection, transaction(connection):
            yield connection

    @contextmanager
    def looking(self) -> Iterator[sqlite3.Connection]:
        """A connection to read with."""
        with closing(connect(self.path)) as connection:
            yield connection

    def all(self, connection: sqlite3.Connection) -> list[Generation]:
        """Every generation, newest first."""
        return [self._record(row) for row in connection.execute(_ALL)]

    def get(self, connection: sqlite3.Connection, generation: str) -> Generation | None:
        """One generation."""
        row = connection.execute(_ONE, (generation,)).fetchone()
        return None if row is None else self._record(row)

    def current(self, connection: sqlite3.Connection) -> Generation | None:
        """The one that counts."""
        row = connection.execute(_CURRENT).fetchone()
        return None if row is None else self._record(row)

    def codec(self, connection: sqlite3.Connection, generation: str) -> Codec | None:
        """How its values are packed; None while that is not decided."""
        query = "SELECT dictionary FROM generations WHERE id = ?"
        row = connection.execute(query, (generation,)).fetchone()
        return None if row is None or row[0] is None else Codec(row[0])

    def add(self, connection: sqlite3.Connection, made: Generation, *, ttl: float | None) -> None:
        """Enter a generation that is being written, on top of the current one."""
        connection.execute(
            "INSERT INTO generations (id, model, state, created_at, ttl, base, meta) "
            "VALUES (?, ?, ?, ?, ?, (SELECT current FROM pointer), ?)",
            (made.id, made.model, made.state, made.created_at, ttl, orjson.dumps(dict(made.meta))),
        )

    def seal(
        self,
        connection: sqlite3.Connection,
        generation: str,
        *,
        entries: int,
        size: int,
        sources: Iterable[str],
    ) -> None:
        """Its file is whole; what it was made from is kept here from now on."""
        connection.execute(
            "UPDATE generations SET state = ?, entries = ?, bytes = ? WHERE id = ?",
            (GenerationState.READY, entries, size, generation),
        )
        connection.executemany(
            "INSERT OR IGNORE INTO sources VALUES (?, ?)",
            [(generation, source) for source in sources],
        )

    def sources(self, connection: sqlite3.Connection, generation: str) -> frozenset[str]:
        """What a sealed generation was made from."""
        query = "SELECT source FROM sources WHERE id = ?"
        return frozenset(source for (source,) in connection.execute(query, (generation,)))

    def remove(self, connection: sqlite3.Connection, generation: str) -> None:
        """Forget a generation."""
        for table in ("sources", "generations"):
            connection.execute(f"DELETE FROM {table} WHERE id = ?", (generation,))  # noqa: S608

    def switch(self, connection: sqlite3.Connection, generation: str, *, at: float) -> None:
        """Publish: from the commit on it is the current one."""
        connection.execute(
            "UPDATE generations SET published_at = ?, expires_at = ? + ttl, "
            "published = (SELECT coalesce(max(published), 0) + 1 FROM generations) "
            "WHERE id = ? AND published IS NULL",
            (at, at, generation),
        )
        self.point(connection, generation)

    def point(self, connection: sqlite3.Connection, generation: str) -> None:
        """Make ``generation`` the current one."""
        connection.execute("UPDATE pointer SET current = ?", (generation,))

    def _record(self, row: tuple[Any, ...]) -> Generation:
        return Generation(
            cache=self.cache,
            id=row[0],
            model=row[1],
            state=GenerationState(row[2]),
            created_at=row[3],
            published_at=row[4],
            order=row[5],
            expires_at=row[6],
            entries=row[7],
            bytes=row[8],
            base=row[9],
            codec="zstd" if row[10] else "plain",
            meta=orjson.loads(row[11]),
            current=bool(row[12]),
        )
