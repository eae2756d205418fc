"""How rows are written: the files that a provider takes, and the test rows that it never sees."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from understudy.data.lines import Line
from understudy.data.reasons import RowError
from understudy.data.rows import Row, answer_text
from understudy.data.tokens import message_tokens, tools_tokens
from understudy.model import PAIRED_METHODS, Method

__all__ = ["JsonlWriter", "SplitInfo", "rejected_line", "row_tokens", "test_row", "training_row"]

_RAW_BYTES = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitInfo:
    """One file of a dataset. ``tokens`` are of one epoch, ``longest`` of the longest row."""

    rows: int
    tokens: int
    longest: int
    bytes: int
    sha256: str


class JsonlWriter:
    """A JSONL file that is counted and hashed as it grows, and is on disk once closed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=1 << 18)
        self._hash = hashlib.sha256()
        self.rows = self.tokens = self.longest = self.bytes = 0

    def write(self, value: Any, *, tokens: int = 0, longest: int = 0) -> None:
        """Append one row of ``tokens`` tokens, ``longest`` of them in one sequence."""
        line = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
        self.append(line, tokens=tokens, longest=longest)

    def append(self, line: bytes | memoryview, *, tokens: int = 0, longest: int = 0) -> None:
        """Append one row that is written already, its newline with it."""
        self._file.write(line)
        self._hash.update(line)
        self.rows += 1
        self.bytes += len(line)
        self.tokens += tokens
        self.longest = max(self.longest, longest)

    def sync(self) -> SplitInfo:
        """Bring it to the disk, close it, and say what is in it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return SplitInfo(
            rows=self.rows,
            tokens=self.tokens,
            longest=self.longest,
            bytes=self.bytes,
            sha256=self._hash.hexdigest(),
        )

    def close(self) -> None:
        """Let go of the file as it is."""
        self._file.close()


def row_tokens(row: Row, method: Method) -> tuple[int, int]:
    """(tokens of the row in one epoch, tokens of its longest sequence).

    supervised: the whole row. Pairs: two sequences, the request with either answer; a provider
    that counts the request once bills less. reinforcement: the request.
    """
    messages = row.example.messages
    asked = 3 + sum(map(message_tokens, messages[: row.turn]))
    if row.example.tools:
        asked += tools_tokens(row.example.tools)
    if method == "reinforcement":
        return asked, asked
    whole = asked + sum(map(message_tokens, messages[row.turn :]))
    if method not in PAIRED_METHODS:
        return whole, whole
    other = asked + sum(map(message_tokens, row.example.rejected))
    return whole + other, max(whole, other)


def training_row(method: Method) -> Callable[[Row], dict[str, Any]]:
    """The function that makes a line of the file which is uploaded."""
    if method == "reinforcement":
        return _reinforcement
    return _pair if method in PAIRED_METHODS else _supervised


def _request(row: Row, messages: tuple[Any, ...]) -> dict[str, Any]:
    made: dict[str, Any] = {"messages": messages}
    if row.example.tools:
        made["tools"] = row.example.tools
        # Providers refuse the switch on rows without tools.
        if row.parallel is not None:
            made["parallel_tool_calls"] = row.parallel
    return made


def _supervised(row: Row) -> dict[str, Any]:
    return _request(row, row.example.messages)


def _pair(row: Row) -> dict[str, Any]:
    return {
        "input": _request(row, row.example.messages[: row.turn]),
        "preferred_output": row.example.messages[row.turn :],
        "non_preferred_output": row.example.rejected,
    }


def _reinforcement(row: Row) -> dict[str, Any]:
    example = row.example
    reference = example.reference or answer_text(example.messages[-1])
    return _request(row, example.messages[: row.turn]) | {"reference": reference}


def test_row(row: Row, row_id: str) -> dict[str, Any]:
    """A line of ``test.jsonl``: the request, the teacher's answer as label, and where from."""
    example = row.example
    return {
        "id": row_id,
        "source_id": example.source_id,
        "messages": example.messages[: row.turn],
        "tools": example.tools,
        "label": answer_text(example.messages[-1]),
        "reference": example.reference,
    }


def rejected_line(
    file: str, number: int, line: Line, error: RowError, *, parsed: bool
) -> dict[str, Any]:
    """A line of ``rejected.jsonl`` for the record on line ``number``.

    ``row`` is the row as it stood; where it is not JSON, ``raw`` is its beginning, bytes that
    are not UTF-8 written as escapes.
    """
    made: dict[str, Any] = {
        "file": file,
        "line": number,
        "field": error.field,
        "reason": str(error.reason),
        "message": error.message,
    }
    if parsed:
        return made | {"row": orjson.Fragment(line.data)}
    return made | {
        "raw": line.data[:_RAW_BYTES].decode("utf-8", "backslashreplace"),
        "bytes": line.size,
    }
