"""Reading on one thread: the current generation's file, and noticing that another one counts."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from understudy.backend import Clock
from understudy.cache.base import Generation, GenerationSwitched
from understudy.cache.codec import Codec
from understudy.cache.shared import NO_GENERATION, NoGeneration
from understudy.cache.sqlite.files import connect, connect_frozen
from understudy.cache.sqlite.index import Index
from understudy.errors import DataError

__all__ = ["FrozenFile", "Reader"]

_GET = "SELECT value FROM entries WHERE key = ?"
_AT_ONCE = 500


class FrozenFile:
    """A view: the open file of one generation.

    Args:
        generation: the one that it holds.
        path: the file.
        codec: how its values are packed.
    """

    def __init__(self, generation: Generation, path: Path, codec: Codec) -> None:
        self.generation: Generation | None = generation
        self.expires_at = generation.expires_at
        self._connection = connect_frozen(path)
        self._execute = self._connection.execute
        self._unpack: Callable[[bytes], bytes] = codec.unpack
        self._execute(_GET, (b"",)).fetchone()  # the file is opened at the first read

    def get(self, key: bytes) -> bytes | None:
        """See ``CacheView.get``."""
        try:
            row = self._execute(_GET, (key,)).fetchone()
        except sqlite3.ProgrammingError:
            raise GenerationSwitched from None  # closed after two switches
        return None if row is None else self._unpack(row[0])

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See ``CacheView.get_many``."""
        unpack = self._unpack
        return {key: unpack(value) for key, value in self._rows("key, value", keys)}

    def known(self, keys: Sequence[bytes]) -> set[bytes]:
        """Those of ``keys`` that it has."""
        return {row[0] for row in self._rows("key", keys)}

    def _rows(self, columns: str, keys: Sequence[bytes]) -> list[tuple[bytes, ...]]:
        found: list[tuple[bytes, ...]] = []
        try:
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"SELECT {columns} FROM entries WHERE key IN ({marks})"  # noqa: S608 - marks
                found += self._execute(query, part).fetchall()
        except sqlite3.ProgrammingError:
            raise GenerationSwitched from None
        return found

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class Reader:
    """What one thread reads one cache with.

    Args:
        index: the cache's index.
        clock: for expiry.
        fresh_for: seconds between two looks at the index.
    """

    def __init__(self, index: Index, *, clock: Clock, fresh_for: float) -> None:
        self._index = index
        self._clock = clock
        self._fresh_for = fresh_for
        self._fresh_until = 0.0
        self._seen: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._view: FrozenFile | None = None
        self._last: FrozenFile | None = None
        self.tail: sqlite3.Connection | None = None

    def view(self) -> FrozenFile | NoGeneration:
        """The current generation, as of ``fresh_for`` ago at most."""
        now = time.monotonic()
        if now >= self._fresh_until:
            self._look()
            self._fresh_until = now + self._fresh_for
        view = self._view
        if view is None:
            return NO_GENERATION
        if view.expires_at is not None and self._clock.now() >= view.expires_at:
            return NO_GENERATION
        return view

    def _look(self) -> None:
        if self._connection is None:
            if not self._index.path.exists():
                return
            self._connection = connect(self._index.path)
        # Changes when, and only when, somebody else has committed to the index.
        seen = self._connection.execute("PRAGMA data_version").fetchone()[0]
        while seen != self._seen:
            current = self._index.current(self._connection)
            try:
                view = None if current is None else self._opened(self._connection, current)
            except sqlite3.OperationalError:
                # Deleted between the look and the opening: by then there is another one.
                if self._index.current(self._connection) == current:
                    raise _gone(self._index, current) from None
                continue
            self._replace(view)
            self._seen = seen

    def _opened(self, connection: sqlite3.Connection, current: Generation) -> FrozenFile:
        if self._view is not None and self._view.generation == current:
            return self._view
        codec = self._index.codec(connection, current.id) or Codec()
        return FrozenFile(current, self._index.folder / f"{current.id}.db", codec)

    def _replace(self, view: FrozenFile | None) -> None:
        if view is self._view:
            return
        # A read that is under way on the one before may finish; the one before that is closed.
        if self._last is not None:
            self._last.close()
        self._view, self._last = view, self._view

    def close(self) -> None:
        """Close all files."""
        for each in (self._connection, self._view, self._last, self.tail):
            if each is not None:
                each.close()

    def __del__(self) -> None:
        # Its thread has ended.
        with suppress(sqlite3.Error, AttributeError):
            self.close()


def _gone(index: Index, current: Generation | None) -> DataError:
    name = current.id if current else ""
    return DataError(
        f"the current generation {name!r} of cache {index.cache!r} cannot be opened; bring its "
        f"file back, or go to another one with `understudy cache rollback {index.cache}`",
        file=index.folder / f"{name}.db",
    )
