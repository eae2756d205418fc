"""Pulling from a service into a file: each call once, through kill -9 at any point.

Beside the file lies ``NAME.state``, a small SQLite database: how long the file is, the ids in it,
and the source's watermark. A page is written in this order: its lines, then ids, length and
watermark in one transaction. Lines beyond the recorded length belong to a page that was never
acknowledged; they are cut off, and the page is asked for again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson

from understudy.data.lines import readable
from understudy.errors import DataError
from understudy.hookspecs import TraceSource
from understudy.model import Json, TraceRecord

__all__ = ["Collected", "collect", "record_line"]

_TABLES = """
CREATE TABLE IF NOT EXISTS calls (id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS place (only INTEGER PRIMARY KEY CHECK (only = 1), bytes INTEGER,
                                  watermark BLOB);
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What a pull brought: new records, records that were there before, and all in the file."""

    new: int
    known: int
    total: int


def record_line(record: TraceRecord) -> bytes:
    """A record as a line of JSON, as it is staged and collected."""
    made: dict[str, Json] = {"value": record.value}
    if record.line is not None:
        made["line"] = record.line
    if record.problem:
        made |= {"place": record.place, "problem": record.problem}
    return orjson.dumps(made, option=orjson.OPT_APPEND_NEWLINE)


def collect(
    source: TraceSource, path: Path, *, progress: Callable[[int], None] | None = None
) -> Collected:
    """Append to ``path`` what the source has beyond the last pull.

    Args:
        source: the service; it is not closed.
        path: a file of records, one a line; made where it is not there.
        progress: called with the number of new records so far.

    Raises:
        DataError: another process collects into the file, or it was changed by hand.
        BackendError: what the source raised; everything up to there is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = known = 0
    with (
        readable(path),
        path.open("ab") as log,
        _alone(log, path),
        closing(_state(path)) as state,
    ):
        for page in source.pages(_resume(state, log, path)):
            fresh = list(_unseen(state, page.records))
            log.writelines(record_line(record) for _, record in fresh)
            log.flush()
            os.fsync(log.fileno())
            _commit(state, [key for key, _ in fresh], log.tell(), page.watermark)
            new += len(fresh)
            known += len(page.records) - len(fresh)
            if progress is not None:
                progress(new)
        total = state.execute("SELECT count(*) FROM calls").fetchone()[0]
    return Collected(new=new, known=known, total=total)


@contextmanager
def _alone(log: IO[bytes], path: Path) -> Iterator[None]:
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise DataError(
            "another process collects into it just now; wait until it is done", file=path
        ) from None
    yield


def _state(path: Path) -> sqlite3.Connection:
    state = sqlite3.connect(path.with_name(f"{path.name}.state"), isolation_level=None)
    state.execute("PRAGMA journal_mode=WAL")
    state.execute("PRAGMA synchronous=FULL")
    state.executescript(_TABLES)
    return state


def _resume(state: sqlite3.Connection, log: IO[bytes], path: Path) -> Json | None:
    """Bring file and state together; the watermark of the last page that is whole."""
    found = state.execute("SELECT bytes, watermark FROM place").fetchone()
    size = log.seek(0, os.SEEK_END)
    if found is None:
        if size:
            raise DataError(
                f"is there without {path.name}.state, which says what is in it; "
                "restore that too, or give another source.path",
                file=path,
            )
        return None
    length, watermark = found
    if size < length:
        raise DataError(
            f"has {size} bytes and had {length}: it was changed by hand; restore it, or remove "
            f"it and {path.name}.state to collect everything anew",
            file=path,
        )
    log.truncate(length)
    log.seek(length)
    return orjson.loads(watermark)


def _unseen(
    state: sqlite3.Connection, records: tuple[TraceRecord, ...]
) -> Iterator[tuple[bytes, TraceRecord]]:
    page: set[bytes] = set()
    for record in records:
        key = _key(record)
        there = state.execute("SELECT 1 FROM calls WHERE id = ?", (key,)).fetchone()
        if key not in page and not there:
            page.add(key)
            yield key, record


def _key(record: TraceRecord) -> bytes:
    """What a record is known by: its id, else all that is in it."""
    name = record.value.get("id")
    known = name.encode() if isinstance(name, str) and name else record_line(record)
    return hashlib.blake2b(known, digest_size=16).digest()


def _commit(state: sqlite3.Connection, keys: list[bytes], length: int, watermark: Json) -> None:
    state.execute("BEGIN IMMEDIATE")
    state.executemany("INSERT INTO calls VALUES (?)", ((key,) for key in keys))
    state.execute(
        "INSERT OR REPLACE INTO place VALUES (1, ?, ?)", (length, orjson.dumps(watermark))
    )
    state.execute("COMMIT")
