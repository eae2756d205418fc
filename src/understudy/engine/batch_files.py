"""A shard's file: what differs from row to row, sorted by key; and the provider's file made of it.

One line a request::

    KEY TOKENS TEXT [TAB TEXT ...] NEWLINE

``KEY`` is 64 hex digits (the fingerprint's SHA-256, and the row's ``custom_id``), ``TOKENS``
eight hex digits (prompt tokens), each ``TEXT`` a JSON string in UTF-8, quotes included; nothing
stands between key, tokens and first text. JSON escapes every control character, so tab and
newline separate unseen by any text. Lines sort by key as bytes.

A ``RowForm`` says what stands around the texts in the provider's file. Where requests have no
common form, the only text of a line is the provider's row itself (``RowForm.whole``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson

__all__ = ["KEY", "TEXT", "RowForm", "UploadFile", "head", "read_rows", "write_upload"]

KEY = 64
"""Where a line's key ends."""
TEXT = 72
"""Where a line's texts begin."""

_AT_ONCE = 4096
"""Rows that are put together before they are written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowForm:
    """The constant pieces of a provider's row, and what stands between them.

    ``pieces`` are one more than ``fields``; field -1 is the key, 0 and up are the texts.
    No pieces: the line's text is the whole row.
    """

    pieces: tuple[str, ...] = ()
    fields: tuple[int, ...] = ()

    @classmethod
    def whole(cls) -> RowForm:
        """Rows without a common form."""
        return cls()

    @classmethod
    def read(cls, path: Path) -> RowForm:
        """The form that ``write`` left."""
        held = orjson.loads(path.read_bytes())
        return cls(pieces=tuple(held["pieces"]), fields=tuple(held["fields"]))

    def write(self, path: Path) -> None:
        """Keep it beside the shards."""
        path.write_bytes(orjson.dumps({"pieces": self.pieces, "fields": self.fields}))

    @property
    def constant(self) -> int:
        """Bytes of a row, its newline too, beyond key and texts and the tabs between them."""
        if not self.pieces:
            return 1
        texts = len(self.fields) - 1
        return len("".join(self.pieces).encode()) + 1 - (texts - 1)

    def rows(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The provider's rows, each with its newline. ``lines`` come without theirs."""
        if not self.pieces:
            return (line[TEXT:] + b"\n" for line in lines)
        pieces = [piece.encode() for piece in self.pieces]
        pieces[-1] += b"\n"
        if self.fields == (-1, 0):
            first, second, third = pieces
            return (first + line[:KEY] + second + line[TEXT:] + third for line in lines)
        return (self._row(pieces, line) for line in lines)

    def _row(self, pieces: list[bytes], line: bytes) -> bytes:
        values = [*line[TEXT:].split(b"\t"), line[:KEY]]
        parts = [pieces[0]]
        for field, piece in zip(self.fields, pieces[1:], strict=True):
            parts += (values[field], piece)
        return b"".join(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadFile:
    """The provider's file of a shard."""

    path: Path
    sha256: str
    requests: int
    bytes: int
    tokens: int


def head(line: bytes) -> tuple[str, int]:
    """Key (hex) and prompt tokens of a line."""
    return line[:KEY].decode(), int(line[KEY:TEXT], 16)


def read_rows(path: Path) -> Iterator[bytes]:
    """The lines of a shard's file without their newlines."""
    with path.open("rb") as file:
        for line in file:
            yield line[:-1]


def write_upload(rows: Path, form: RowForm, target: Path) -> UploadFile:
    """Write the provider's file of the shard at ``rows``; the same bytes every time."""
    digest = hashlib.sha256()
    requests = size = tokens = 0
    lines = read_rows(rows)
    with target.open("wb") as file:
        while part := list(islice(lines, _AT_ONCE)):
            data = b"".join(form.rows(part))
            file.write(data)
            digest.update(data)
            requests += len(part)
            size += len(data)
            tokens += sum(int(line[KEY:TEXT], 16) for line in part)
    return UploadFile(
        path=target, sha256=digest.hexdigest(), requests=requests, bytes=size, tokens=tokens
    )
