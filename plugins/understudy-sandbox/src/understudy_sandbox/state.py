"""Durable state: one SQLite file and the files' bytes, mirrored in memory for quick lists."""

from __future__ import annotations

import secrets
import sqlite3
import string
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

if TYPE_CHECKING:
    from pathlib import Path

Doc: TypeAlias = dict[str, Any]
OPENAI_HOME = "openai"  # the resource that files, jobs and batches of OpenAI's wire belong to

KINDS = (
    "file",
    "upload",
    "part",
    "job",
    "model",
    "batch",
    "permission",
    "deployment",
    "operation",
)
_ALPHABET = string.ascii_letters + string.digits
_SCHEMA = """
CREATE TABLE IF NOT EXISTS docs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL UNIQUE,
    body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS ledger (seq INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, body BLOB NOT NULL);
"""


def new_id(prefix: str, length: int = 24) -> str:
    """A fresh identifier such as ``file-`` and 24 letters and digits."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))


class Collection:
    """Documents of one kind by id, oldest first. Every put is on disk when it returns."""

    def __init__(self, state: State, kind: str) -> None:
        self._state = state
        self._kind = kind
        self._docs: dict[str, Doc] = {}

    def load(self, doc: Doc) -> None:
        """Take in a stored document at opening."""
        self._docs[doc["id"]] = doc

    def get(self, name: str) -> Doc | None:
        """The document of an id, or None. It is the live one: put it after changing it."""
        return self._docs.get(name)

    def put(self, doc: Doc) -> Doc:
        """Store a new or changed document."""
        with self._state.writing() as db:
            db.execute(
                "INSERT INTO docs (kind, id, body) VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET body = excluded.body",
                (self._kind, doc["id"], orjson.dumps(doc)),
            )
        self._docs[doc["id"]] = doc
        return doc

    def delete(self, name: str) -> bool:
        """Forget a document; False where there was none."""
        with self._state.writing() as db:
            db.execute("DELETE FROM docs WHERE id = ?", (name,))
        return self._docs.pop(name, None) is not None

    def newest_first(self) -> list[Doc]:
        """All documents, the newest first."""
        return list(self._docs.values())[::-1]

    def __iter__(self) -> Iterator[Doc]:
        return iter(list(self._docs.values()))

    def __len__(self) -> int:
        return len(self._docs)


class State:
    """Everything that a restart must find again, under one folder.

    Args:
        folder: made where absent; holds ``state.db``, ``blobs/`` and ``parts/``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = folder / "blobs"
        self.parts = folder / "parts"
        for path in (folder, self.blobs, self.parts):
            path.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self._db = sqlite3.connect(folder / "state.db", check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        # kill -9 loses nothing in this mode; a power cut may lose the last writes.
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self._depth = 0
        self.docs = {kind: Collection(self, kind) for kind in KINDS}
        for kind, body in self._db.execute("SELECT kind, body FROM docs ORDER BY seq"):
            self.docs[kind].load(orjson.loads(body))

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction; nested uses join the outermost."""
        with self.lock:
            self._depth += 1
            try:
                yield self._db
            except BaseException:
                self._db.rollback()
                raise
            else:
                if self._depth == 1:
                    self._db.commit()
            finally:
                self._depth -= 1

    def setting(self, name: str) -> Any:
        """A stored setting, or None."""
        with self.lock:
            query = "SELECT body FROM settings WHERE name = ?"
            row = self._db.execute(query, (name,)).fetchone()
        return orjson.loads(row[0]) if row else None

    def set(self, name: str, value: Any) -> None:
        """Store a setting."""
        with self.writing() as db:
            db.execute(
                "INSERT INTO settings VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET body = excluded.body",
                (name, orjson.dumps(value)),
            )

    def settle(self, name: str, make: Callable[[], Any]) -> Any:
        """A setting that is made once and kept."""
        value = self.setting(name)
        if value is None:
            value = make()
            self.set(name, value)
        return value

    def append_entry(self, entry: Doc) -> None:
        """Add an entry to the bill."""
        with self.writing() as db:
            db.execute("INSERT INTO ledger (body) VALUES (?)", (orjson.dumps(entry),))

    def entries(self) -> list[Doc]:
        """The bill's entries, oldest first."""
        with self.lock:
            rows = self._db.execute("SELECT body FROM ledger ORDER BY seq").fetchall()
        return [orjson.loads(row[0]) for row in rows]

    def keep_blob(self, source: Path) -> tuple[str, int]:
        """Move a finished file into the blobs; its sha256 and size in bytes.

        Equal contents are one blob. Blobs outlive their file objects, because models are
        refitted from them after a restart.
        """
        digest, size = sha256(), 0
        with source.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
        name = digest.hexdigest()
        source.replace(self.blobs / name)
        return name, size

    def blob(self, name: str) -> Path:
        """Where a blob lies."""
        return self.blobs / name

    def close(self) -> None:
        """Close the database."""
        with self.lock:
            self._db.close()
