"""What comes of one chunk: a few numbers for each record, and its text beside them.

Decisions that concern several rows (duplicates, near-duplicates) need the numbers only; the text
waits on the disk until it is written or left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

__all__ = ["REJECTED", "Part", "PartBuilder", "Record"]

REJECTED = 255
"""The side of a record that is in no split."""

_COLUMNS: dict[str, str] = {
    "line": "<u8",
    "side": "u1",
    "tokens": "<u4",
    "longest": "<u4",
    "digest": "V16",
    "asked": "V16",
    "source": "<u8",
    "reference": "u1",
    "score": "<f4",
    "text_end": "<u8",
    "raw_end": "<u8",
}


@dataclass(kw_only=True, slots=True)
class Record:
    """One record of a source, ready to be written or left out.

    Args:
        line: where it stands.
        side: index into SPLITS, or REJECTED.
        text: its line of the split's file, or of rejected.jsonl.
        raw: the row as it stood, for rejected.jsonl, should it be left out later.
        digest: equal for equal rows; ``asked``: for equal questions.
        source: hash of the conversation that it is from.
        reference, score: which row of a cluster is the best.
        signature: MinHash, as uint32; empty where near-duplicates stay.
    """

    line: int
    side: int
    text: bytes
    raw: bytes = b""
    tokens: int = 0
    longest: int = 0
    digest: bytes = bytes(16)
    asked: bytes = bytes(16)
    source: int = 0
    reference: bool = False
    score: float = float("-inf")


@dataclass(kw_only=True)
class Part:
    """The records of one chunk, as columns of equal length in the order of the source.

    Args:
        index: of the chunk.
        lines, blank: records read, and blank lines among them.
        rejected: dropped and rejected records by reason.
        first: for each reason the line and field where it was seen first.
        columns: see ``Record``; ``text_end`` and ``raw_end`` cut ``texts`` and ``raws``.
        signatures: (records, permutations) of uint32.
    """

    index: int
    lines: int = 0
    blank: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    first: dict[str, tuple[int, str]] = field(default_factory=dict)
    columns: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict, repr=False)
    signatures: np.ndarray[Any, Any] = field(
        default_factory=lambda: np.empty((0, 0), "<u4"), repr=False
    )
    texts: bytes | memoryview = field(default=b"", repr=False)
    raws: bytes | memoryview = field(default=b"", repr=False)

    def pack(self) -> bytes:
        """All of it as bytes: a line of JSON, then the columns, signatures, texts and raws."""
        arrays = [np.ascontiguousarray(self.columns[name]).tobytes() for name in _COLUMNS]
        blobs = [*arrays, self.signatures.tobytes(), bytes(self.texts), bytes(self.raws)]
        head = {
            "index": self.index,
            "lines": self.lines,
            "blank": self.blank,
            "rejected": dict(self.rejected),
            "first": self.first,
            "permutations": self.signatures.shape[1],
            "sizes": [len(blob) for blob in blobs],
        }
        return b"".join([orjson.dumps(head, option=orjson.OPT_APPEND_NEWLINE), *blobs])

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> Part:
        """The part that ``pack`` made; texts stay where they are in ``data``."""
        view = memoryview(data)
        # The head is short; find works on bytes only, so a growing piece is looked through.
        size = 1 << 16
        while (end := bytes(view[:size]).find(b"\n")) < 0:
            size *= 2
        head = orjson.loads(view[:end])
        at, blobs = end + 1, []
        for length in head["sizes"]:
            blobs.append(view[at : at + length])
            at += length
        *arrays, signatures, texts, raws = blobs
        return cls(
            index=head["index"],
            lines=head["lines"],
            blank=head["blank"],
            rejected=Counter(head["rejected"]),
            first={name: (line, place) for name, (line, place) in head["first"].items()},
            columns={
                name: np.frombuffer(blob, dtype)
                for (name, dtype), blob in zip(_COLUMNS.items(), arrays, strict=True)
            },
            signatures=np.frombuffer(signatures, "<u4").reshape(-1, head["permutations"])
            if head["permutations"]
            else np.empty((0, 0), "<u4"),
            texts=texts,
            raws=raws,
        )

    @classmethod
    def load(cls, path: Path) -> Part:
        """The part in a file; only what is looked at is read from the disk."""
        return cls.unpack(np.memmap(path, dtype="u1", mode="r").data)

    def text(self, number: int) -> memoryview:
        """The written form of one record."""
        return _piece(self.texts, self.columns["text_end"], number)

    def raw(self, number: int) -> memoryview:
        """One record as it stood."""
        return _piece(self.raws, self.columns["raw_end"], number)


def _piece(blob: bytes | memoryview, ends: np.ndarray[Any, Any], number: int) -> memoryview:
    start = int(ends[number - 1]) if number else 0
    return memoryview(blob)[start : int(ends[number])]


class PartBuilder:
    """Takes the records of one chunk in."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.lines = self.blank = 0
        self.rejected: Counter[str] = Counter()
        self.first: dict[str, tuple[int, str]] = {}
        self._records: list[Record] = []
        self._texts = bytearray()
        self._raws = bytearray()
        self._ends: list[tuple[int, int]] = []

    def add(self, record: Record) -> None:
        """The next record."""
        self._texts += record.text
        self._raws += record.raw
        self._ends.append((len(self._texts), len(self._raws)))
        # Held once is enough.
        record.text = record.raw = b""
        self._records.append(record)

    def reject(self, line: int, reason: str, place: str, text: bytes) -> None:
        """A record that is in no split."""
        self.first.setdefault(reason, (line, place))
        self.rejected[reason] += 1
        self.add(Record(line=line, side=REJECTED, text=text))

    def done(self, signatures: np.ndarray[Any, Any] | None = None) -> Part:
        """The part; ``signatures`` has a row for each record that was added."""
        ends = {"text_end": 0, "raw_end": 1}
        columns = {
            name: np.array(
                [end[ends[name]] for end in self._ends]
                if name in ends
                else [getattr(record, name) for record in self._records],
                dtype,
            )
            for name, dtype in _COLUMNS.items()
        }
        return Part(
            index=self.index,
            lines=self.lines,
            blank=self.blank,
            rejected=self.rejected,
            first=self.first,
            columns=columns,
            signatures=np.empty((0, 0), "<u4") if signatures is None else signatures,
            texts=bytes(self._texts),
            raws=bytes(self._raws),
        )

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)
