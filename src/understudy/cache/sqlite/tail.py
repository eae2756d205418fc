"""``tail.db``: live answers until the next generation takes them over, and the counters."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from understudy.cache.base import TailRow
from understudy.cache.sqlite.files import connect, ensure, transaction

__all__ = ["Tail"]

_SCHEMA = """
CREATE TABLE tail (
    place INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, value BLOB NOT NULL,
    expires_at REAL, carried INTEGER NOT NULL
);
CREATE TABLE size (entries INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO size VALUES (0, 0);
CREATE TABLE counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER tail_added AFTER INSERT ON tail BEGIN
    UPDATE size SET entries = entries + 1, bytes = bytes + length(new.value);
END;
CREATE TRIGGER tail_changed AFTER UPDATE OF value ON tail BEGIN
    UPDATE size SET bytes = bytes + length(new.value) - length(old.value);
END;
CREATE TRIGGER tail_removed AFTER DELETE ON tail BEGIN
    UPDATE size SET entries = entries - 1, bytes = bytes - length(old.value);
END;
"""
_AT_ONCE = 500


class Tail:
    """The tail of one cache; a connection for each call that writes.

    Args:
        folder: the cache's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tail.db"

    def put(self, rows: Sequence[TailRow], *, limit: int | None) -> None:
        """Keep rows; over ``limit`` bytes of values, the oldest go."""
        ensure(self.path, _SCHEMA)
        with closing(connect(self.path)) as connection:
            # The write-ahead log survives the death of a process without a sync for each answer.
            connection.execute("PRAGMA synchronous = NORMAL")
            with transaction(connection):
                connection.executemany(
                    "INSERT INTO tail (key, value, expires_at, carried) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (key) DO UPDATE SET value = excluded.value, "
                    "expires_at = excluded.expires_at, carried = excluded.carried",
                    [(row.key, row.value, row.expires_at, row.carried) for row in rows],
                )
                if limit is not None:
                    _evict(connection, limit)

    def values(
        self, connection: sqlite3.Connection, keys: Sequence[bytes], now: float, *, refusals: bool
    ) -> dict[bytes, bytes]:
        """Those that are there and have not expired."""
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(part))
            found |= connection.execute(
                f"SELECT key, value FROM tail WHERE key IN ({marks}) "  # noqa: S608 - marks alone
                "AND (expires_at IS NULL OR expires_at > ?) AND (carried OR ?)",
                (*part, now, refusals),
            ).fetchall()
        return found

    def scan(self, now: float) -> Iterator[TailRow]:
        """Every row that has not expired, oldest first."""
        if not self.path.exists():
            return
        with closing(connect(self.path)) as connection:
            place = 0
            while True:
                # In short reads: a long one would keep the write-ahead log from being emptied.
                rows = connection.execute(
                    "SELECT place, key, value, expires_at, carried FROM tail WHERE place > ? "
                    "AND (expires_at IS NULL OR expires_at > ?) ORDER BY place LIMIT ?",
                    (place, now, _AT_ONCE),
                ).fetchall()
                if not rows:
                    return
                for place, key, value, expires_at, carried in rows:  # noqa: B007 - resumes there
                    yield TailRow(
                        key=key, value=value, expires_at=expires_at, carried=bool(carried)
                    )

    def prune(self, keys: Sequence[bytes], now: float) -> None:
        """Delete what has expired, and ``keys``."""
        if not self.path.exists():
            return
        with closing(connect(self.path)) as connection, transaction(connection):
            connection.execute("DELETE FROM tail WHERE expires_at <= ?", (now,))
            connection.executemany("DELETE FROM tail WHERE key = ?", [(key,) for key in keys])

    def add_counts(self, counts: Mapping[str, int]) -> None:
        """Add to the counters."""
        ensure(self.path, _SCHEMA)
        with closing(connect(self.path)) as connection, transaction(connection):
            connection.executemany(
                "INSERT INTO counts VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                list(counts.items()),
            )

    def stats(self) -> tuple[int, int, dict[str, int]]:
        """Entries, bytes, and the counters."""
        if not self.path.exists():
            return 0, 0, {}
        with closing(connect(self.path)) as connection:
            entries, size = connection.execute("SELECT entries, bytes FROM size").fetchone()
            return entries, size, dict(connection.execute("SELECT name, value FROM counts"))


def _evict(connection: sqlite3.Connection, limit: int) -> None:
    over = connection.execute("SELECT bytes FROM size").fetchone()[0] - limit
    while over > 0:
        oldest = connection.execute(
            "SELECT place, length(value) FROM tail ORDER BY place LIMIT ?", (_AT_ONCE,)
        ).fetchall()
        gone = []
        for place, size in oldest:
            if over <= 0:
                break
            gone.append((place,))
            over -= size
        connection.executemany("DELETE FROM tail WHERE place = ?", gone)
