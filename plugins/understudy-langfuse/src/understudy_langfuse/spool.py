"""Spans that wait on disk until Langfuse has taken them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Spool", "Waiting"]

Waiting = tuple[int, str, bytes]
"""Its place in the queue, the call's id, the span as JSON."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS waiting (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, call TEXT NOT NULL UNIQUE, span BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS refused (
    call TEXT PRIMARY KEY, reason TEXT NOT NULL, span BLOB NOT NULL);
"""


class Spool:
    """A queue in an SQLite file. Safe for several threads of one process.

    Args:
        folder: where the file lies; made where absent.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(folder / "langfuse-spool.db", check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        # A call is told nobody else: it must outlive a power cut, not only a crash.
        self._db.execute("PRAGMA synchronous=FULL")
        # What was delivered leaves nothing readable behind.
        self._db.execute("PRAGMA secure_delete=ON")
        self._db.executescript(_SCHEMA)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._db:
            yield self._db

    def put(self, spans: Iterable[tuple[str, bytes]]) -> None:
        """Add spans by call; a call that waits already takes the new one's span."""
        with self._writing() as db:
            db.executemany(
                "INSERT INTO waiting (call, span) VALUES (?, ?) "
                "ON CONFLICT (call) DO UPDATE SET span = excluded.span",
                spans,
            )

    def next(self, count: int, most_bytes: int) -> list[Waiting]:
        """The oldest spans: at most ``count``, and no more bytes than ``most_bytes`` but one."""
        with self._lock:
            rows = self._db.execute(
                "SELECT seq, call, span FROM waiting ORDER BY seq LIMIT ?", (count,)
            ).fetchall()
        taken: list[Waiting] = []
        size = 0
        for row in rows:
            size += len(row[2])
            if taken and size > most_bytes:
                break
            taken.append(row)
        return taken

    def forget(self, sent: Sequence[Waiting]) -> None:
        """Take spans out that were delivered, unless they were changed meanwhile."""
        with self._writing() as db:
            db.executemany(
                "DELETE FROM waiting WHERE seq = ? AND span = ?",
                [(seq, span) for seq, _, span in sent],
            )

    def refuse(self, one: Waiting, reason: str) -> None:
        """Lay a span aside that will never be taken, with the reason."""
        seq, call, span = one
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO refused VALUES (?, ?, ?)", (call, reason, span))
            db.execute("DELETE FROM waiting WHERE seq = ?", (seq,))

    def waiting(self) -> int:
        """How many wait."""
        with self._lock:
            return int(self._db.execute("SELECT COUNT(*) FROM waiting").fetchone()[0])

    def refused(self) -> list[tuple[str, str]]:
        """Calls that were laid aside, with the reasons."""
        with self._lock:
            return self._db.execute("SELECT call, reason FROM refused ORDER BY call").fetchall()

    def close(self) -> None:
        """Close the file; what waits stays in it."""
        with self._lock:
            self._db.close()
