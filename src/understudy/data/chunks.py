"""Pieces of a source that can be read on their own: by other processes, on other machines."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from understudy.data.lines import readable
from understudy.errors import DataError

__all__ = ["CHUNK_BYTES", "Chunk", "Survey", "survey"]

CHUNK_BYTES = 4 * 1024 * 1024
"""About as long is a piece: a process holds a few times that."""

_BLOCK = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """The lines of ``path`` from byte ``start`` to byte ``end``, numbered from ``first``."""

    index: int
    path: str
    start: int
    end: int | None
    first: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """One look over a file: its sha256, its length in bytes, and its pieces in order."""

    sha256: str
    bytes: int
    chunks: tuple[Chunk, ...]


def survey(path: Path, *, size: int | None = None) -> Survey:
    """Read ``path`` once, hash it and cut it at the first line ending after every ``size`` bytes.

    Raises:
        DataError: the file cannot be read.
    """
    cutter = _Cutter(str(path), size or CHUNK_BYTES)
    digest = hashlib.sha256()
    with readable(path), path.open("rb") as file:
        while block := file.read(_BLOCK):
            if not cutter.at and block[:2] in {b"\xff\xfe", b"\xfe\xff"}:
                raise DataError("this is UTF-16; save it as UTF-8 and run again", file=path)
            digest.update(block)
            cutter.feed(block)
    return Survey(sha256=digest.hexdigest(), bytes=cutter.at, chunks=cutter.finish())


class _Cutter:
    def __init__(self, path: str, size: int) -> None:
        self._path, self._size = path, size
        self._chunks: list[Chunk] = []
        self._start = self._newlines = 0
        self._first = 1
        self.at = 0

    def feed(self, block: bytes) -> None:
        seen = 0
        while True:
            cut = block.find(b"\n", max(seen, self._start + self._size - self.at))
            if cut < 0:
                break
            self._newlines += block.count(b"\n", seen, cut + 1)
            self._cut(self.at + cut + 1)
            seen = cut + 1
        self._newlines += block.count(b"\n", seen)
        self.at += len(block)

    def _cut(self, end: int) -> None:
        index = len(self._chunks)
        self._chunks.append(
            Chunk(index=index, path=self._path, start=self._start, end=end, first=self._first)
        )
        self._first += self._newlines
        self._newlines, self._start = 0, end

    def finish(self) -> tuple[Chunk, ...]:
        if self.at > self._start:
            self._cut(self.at)
        return tuple(self._chunks)
