"""What a Langfuse project holds, in an SQLite file of its own.

The sandbox's other documents live in memory, which a project of many observations would fill.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import orjson

from understudy_sandbox.langfuse.times import millis

if TYPE_CHECKING:
    from pathlib import Path

    from understudy_sandbox.clock import Clock
    from understudy_sandbox.state import Doc

Place: TypeAlias = tuple[int, str, str]
"""Where a list goes on: start in milliseconds, trace, id; or a score's time, "", id."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS observations (
    trace TEXT NOT NULL, id TEXT NOT NULL, start INTEGER NOT NULL, visible_at REAL NOT NULL,
    experiment TEXT, body BLOB NOT NULL, PRIMARY KEY (trace, id));
CREATE INDEX IF NOT EXISTS by_start ON observations (start, trace, id);
CREATE TABLE IF NOT EXISTS traces (id TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS scores (
    id TEXT PRIMARY KEY, at INTEGER NOT NULL, subject TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_time ON scores (at, id);
CREATE TABLE IF NOT EXISTS datasets (name TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS items (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, dataset TEXT NOT NULL, body BLOB NOT NULL);
"""
_NEWEST: Place = (1 << 62, "", "")


class Records:
    """The project's records; every write is on disk when it returns.

    Args:
        folder: where ``langfuse.db`` lies; made when it is first used.
        clock: says what is visible by now.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._path = folder / "langfuse.db"
        self._clock = clock
        self._lock = threading.RLock()
        self._opened: sqlite3.Connection | None = None

    @property
    def _db(self) -> sqlite3.Connection:
        if self._opened is None:
            self._opened = sqlite3.connect(self._path, check_same_thread=False)
            self._opened.execute("PRAGMA journal_mode=WAL")
            self._opened.execute("PRAGMA synchronous=NORMAL")
            self._opened.executescript(_SCHEMA)
        return self._opened

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._db as db:
            yield db

    def put_observations(self, made: Iterable[Doc], *, late: float = 0.0) -> None:
        """Store observations; one that is there is replaced. ``late`` hides them for seconds."""
        now = self._clock.now()
        rows = [
            (
                doc["traceId"],
                doc["id"],
                millis(doc["startTime"]),
                now + late,
                (doc.get("experiment") or {}).get("id"),
                orjson.dumps(doc),
            )
            for doc in made
        ]
        with self._writing() as db:
            db.executemany(
                "INSERT INTO observations VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (trace, id) "
                "DO UPDATE SET start = excluded.start, experiment = excluded.experiment, "
                "body = excluded.body",
                rows,
            )

    def observation(self, trace: str, name: str) -> Doc | None:
        """One observation as stored, or None."""
        query = "SELECT body FROM observations WHERE trace = ? AND id = ?"
        return self._one(query, trace, name)

    def put_trace(self, doc: Doc) -> None:
        """Store what a trace says of all its observations, added to what it said before."""
        known = self._one("SELECT body FROM traces WHERE id = ?", doc["id"]) or {}
        merged = known | {key: value for key, value in doc.items() if value is not None}
        with self._writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO traces VALUES (?, ?)", (doc["id"], orjson.dumps(merged))
            )

    def observations(
        self, *, before: Place | None, since: int, until: int, experiments: bool = False
    ) -> Iterator[tuple[Doc, Doc]]:
        """Visible observations with their traces, the latest start first.

        Args:
            before: place of the last one that was seen.
            since: first start, in milliseconds.
            until: first start that is left out.
            experiments: only those of experiments.
        """
        only = "AND o.experiment IS NOT NULL" if experiments else ""
        query = f"""SELECT o.start, o.trace, o.id, o.body, t.body FROM observations o
            LEFT JOIN traces t ON t.id = o.trace
            WHERE (o.start, o.trace, o.id) < (?, ?, ?) AND o.start >= ? AND o.start < ?
            AND o.visible_at <= ? {only}
            ORDER BY o.start DESC, o.trace DESC, o.id DESC LIMIT 500"""  # noqa: S608 - no input
        place = before or _NEWEST
        while True:
            with self._lock:
                rows = self._db.execute(query, (*place, since, until, self._clock.now())).fetchall()
            for start, trace, name, body, of in rows:
                place = (start, trace, name)
                yield orjson.loads(body), orjson.loads(of) if of else {}
            if len(rows) < 500:
                return

    def put_score(self, doc: Doc) -> None:
        """Store a score; one of the same id is replaced and keeps its time of creation."""
        known = self._one("SELECT body FROM scores WHERE id = ?", doc["id"])
        kept = doc | ({"createdAt": known["createdAt"]} if known else {})
        with self._writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?)",
                (doc["id"], millis(doc["timestamp"]), doc["subject"]["id"], orjson.dumps(kept)),
            )

    def delete_score(self, name: str) -> bool:
        """Forget a score; False where there was none."""
        with self._writing() as db:
            return db.execute("DELETE FROM scores WHERE id = ?", (name,)).rowcount > 0

    def scores(self, *, before: Place | None, since: int, until: int) -> Iterator[Doc]:
        """Scores of a range of times in milliseconds, the latest first."""
        at, _, name = before or _NEWEST
        with self._lock:
            rows = self._db.execute(
                "SELECT body FROM scores WHERE (at, id) < (?, ?) AND at >= ? AND at < ? "
                "ORDER BY at DESC, id DESC",
                (at, name, since, until),
            ).fetchall()
        return (orjson.loads(body) for (body,) in rows)

    def scores_of(self, subject: str) -> list[Doc]:
        """Scores of a trace, an observation, a session or an experiment."""
        return self._all("SELECT body FROM scores WHERE subject = ? ORDER BY at, id", subject)

    def put_dataset(self, doc: Doc) -> None:
        """Store a dataset under its name."""
        with self._writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO datasets VALUES (?, ?)", (doc["name"], orjson.dumps(doc))
            )

    def dataset(self, name: str) -> Doc | None:
        """A dataset by name, or None."""
        return self._one("SELECT body FROM datasets WHERE name = ?", name)

    def datasets(self) -> list[Doc]:
        """All datasets by name."""
        return self._all("SELECT body FROM datasets ORDER BY name")

    def put_item(self, doc: Doc) -> None:
        """Store a dataset's item; one of the same id is replaced in its place."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO items (id, dataset, body) VALUES (?, ?, ?) ON CONFLICT (id) "
                "DO UPDATE SET dataset = excluded.dataset, body = excluded.body",
                (doc["id"], doc["datasetName"], orjson.dumps(doc)),
            )

    def item(self, name: str) -> Doc | None:
        """An item by id, or None."""
        return self._one("SELECT body FROM items WHERE id = ?", name)

    def items(self, dataset: str | None) -> list[Doc]:
        """Items of a dataset, or of all, the newest first."""
        if dataset is None:
            return self._all("SELECT body FROM items ORDER BY seq DESC")
        return self._all("SELECT body FROM items WHERE dataset = ? ORDER BY seq DESC", dataset)

    def delete_item(self, name: str) -> bool:
        """Forget an item; False where there was none."""
        with self._writing() as db:
            return db.execute("DELETE FROM items WHERE id = ?", (name,)).rowcount > 0

    def counts(self) -> dict[str, int]:
        """How many observations and scores there are, hidden ones included."""
        with self._lock:
            return {
                table: self._db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608
                for table in ("observations", "scores", "items")
            }

    def _one(self, query: str, *values: str) -> Doc | None:
        found = self._all(query, *values)
        return found[0] if found else None

    def _all(self, query: str, *values: str) -> list[Doc]:
        with self._lock:
            rows = self._db.execute(query, values).fetchall()
        return [orjson.loads(body) for (body,) in rows]

    def close(self) -> None:
        """Close the file, where it was opened."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
