"""Opening SQLite files: made whole or not at all, shared by processes."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

__all__ = ["connect", "connect_frozen", "delete", "ensure", "settle", "transaction"]

_PATIENCE = 120.0
"""Seconds to wait for another process's transaction."""

_BESIDE = ("", "-wal", "-shm", "-journal")


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that is there, for any thread; transactions are explicit."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(
        uri, uri=True, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
    )


def connect_frozen(path: Path) -> sqlite3.Connection:
    """A connection to a file that nobody writes any more: no locks, read through memory maps."""
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    made = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    made.execute(f"PRAGMA mmap_size = {1 << 42}")
    return made


def ensure(path: Path, schema: str) -> None:
    """Make the file with ``schema`` in write-ahead mode, unless it is there.

    It appears whole: two processes that begin at once do not meet in the middle of it.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.{uuid4().hex}")
    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(schema)
    try:
        with suppress(FileExistsError):
            os.link(made, path)
    finally:
        delete(made)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing, alone with the right to write."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def settle(made: Path, path: Path) -> None:
    """Bring ``made`` to the disk and give it its name, so that it is whole under that name."""
    for place in (made, path.parent):
        if place == path.parent:
            made.replace(path)
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def delete(path: Path) -> None:
    """Delete a file of SQLite's and what it keeps beside it."""
    for ending in _BESIDE:
        path.with_name(path.name + ending).unlink(missing_ok=True)
