"""What is done to one chunk of a source, whichever process on whichever machine does it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from understudy.data.chunks import Chunk
from understudy.data.filters import Chosen, make_filter
from understudy.data.lines import MAX_LINE, Line, read_lines
from understudy.data.near import normalised, signatures
from understudy.data.parts import REJECTED, Part, PartBuilder, Record
from understudy.data.reasons import Reason, RowError
from understudy.data.rows import Row, conversation, parse_line, rebuilt, row_parser
from understudy.data.sources import line_reader
from understudy.data.split import SPLITS, splitter
from understudy.data.write import rejected_line, row_tokens, test_row, training_row
from understudy.hookspecs import Filter
from understudy.model import Conversation, Drop, Method, TraceRecord
from understudy.recipe import Cleaning, Split

__all__ = ["Task", "Work"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """All that shapes what comes of a chunk; plain data, so that it can travel.

    Args:
        name: of the source's file, for rejected.jsonl.
        kind: a kind of row that ``row_parser`` knows.
        reader: the line reader's dotted path and options, None where lines are rows as they are.
        staged: lines are ``TraceRecord``s that an earlier stage wrote.
        filters: in the order in which they look.
        limit: longest row in tokens, None for any.
    """

    name: str
    kind: str
    reader: tuple[str, dict[str, Any]] | None
    staged: bool
    cleaning: Cleaning
    filters: tuple[Chosen, ...]
    split: Split
    method: Method
    limit: int | None


class Work:
    """Makes parts of chunks. Made once in each process."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._parse = row_parser(task.kind, task.cleaning)
        self._reader = line_reader(task.reader) if task.reader else None
        self._filters: list[tuple[str, Filter]] = [
            (chosen.name, make_filter(chosen)) for chosen in task.filters
        ]
        self._side = splitter(task.split)
        self._training_row = training_row(task.method)
        self._near = task.cleaning.near_duplicates
        self._drops_repeats = "duplicate" in task.cleaning.drop

    def __call__(self, chunk: Chunk) -> Part:
        """Every line of the chunk ends as a record or was blank."""
        builder = PartBuilder(chunk.index)
        self._said: list[str] = []
        path = Path(chunk.path)
        for line in read_lines(path, start=chunk.start, end=chunk.end, first=chunk.first):
            if not line.size:
                builder.lines += 1
                builder.blank += 1
                continue
            self._line(builder, line)
        if self._near is None:
            return builder.done()
        return builder.done(signatures(self._said, self._near))

    def _line(self, builder: PartBuilder, line: Line) -> None:
        parsed = False
        before = builder.lines
        try:
            value = _parsed(line)
            parsed = True
            for number, raw in self._records(value, line):
                builder.lines += 1
                self._take(builder, number, raw)
        except RowError as error:
            builder.lines += 1
            text = rejected_line(self._task.name, line.number, line, error, parsed=parsed)
            self._reject(builder, line.number, error, text)
        if builder.lines == before:
            # Nothing to learn from in it, as in a line of spans without a model's call.
            builder.lines += 1
            builder.blank += 1

    def _records(self, value: dict[str, Any], line: Line) -> Iterator[tuple[int, _Raw]]:
        if self._task.staged:
            place, problem = value.get("place") or "", value.get("problem") or ""
            yield value.get("line") or line.number, _Raw(value["value"], None, place, problem)
        elif self._reader is None:
            yield line.number, _Raw(value, line.data, "", "")
        else:
            for record in self._reader.calls(value):
                yield line.number, _raw(record)

    def _take(self, builder: PartBuilder, number: int, raw: _Raw) -> None:
        try:
            row = self._parse(raw.sound())
            word, seen = self._heard(row)
            if seen is not None:
                raw = _Raw(_plain(seen), None, "", "")
                row = rebuilt(row, seen)
            self._keep(builder, number, raw, row, word)
        except RowError as error:
            fragment = Line(number, raw.line(), 1)
            text = rejected_line(self._task.name, number, fragment, error, parsed=True)
            self._reject(builder, number, error, text)

    def _heard(self, row: Row) -> tuple[RowError | None, Conversation | None]:
        """What the filters say of a row, and the row as it is now if they changed it."""
        if not self._filters:
            return None, None
        seen, changed = conversation(row), None
        for name, each in self._filters:
            word = each.check(seen)
            if isinstance(word, Drop):
                error = RowError(word.reason or name, word.place, word.message)
                return error, word.kept or changed
            if word is not None:
                seen = changed = word
        return None, changed

    def _keep(
        self, builder: PartBuilder, number: int, raw: _Raw, row: Row, word: RowError | None
    ) -> None:
        if word is not None:
            raise word
        tokens, longest = row_tokens(row, self._task.method)
        limit = self._task.limit
        if limit is not None and longest > limit:
            raise RowError(
                Reason.TOO_LONG, "", f"{longest} tokens; the limit is {limit}. Shorten it"
            )
        row_id = row.digest.hex() if self._drops_repeats else f"{row.digest.hex()}-{number}"
        side = self._side(row.example.source_id)
        value = test_row(row, row_id) if side == "test" else self._training_row(row)
        asked = self._hear(row)
        builder.add(
            Record(
                line=number,
                side=SPLITS.index(side),
                text=orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE),
                raw=raw.line() if self._later else b"",
                tokens=tokens,
                longest=longest,
                digest=row.digest,
                asked=_hash(asked.encode()),
                source=int.from_bytes(_hash(row.example.source_id.encode())[:8], "little"),
                reference=row.example.reference is not None,
                score=row.score,
            )
        )

    def _hear(self, row: Row) -> str:
        """Note what the conversation says; what was asked in it."""
        messages = row.example.messages
        if self._near is None and self._task.cleaning.held_out is None:
            return ""
        asked = normalised(messages[: row.turn])
        if self._near is not None:
            self._said.append(f"{asked} {normalised(messages[row.turn :])}".strip())
        return asked

    @property
    def _later(self) -> bool:
        """Whether a kept row may still be left out, and then be shown as it stood."""
        cleaning = self._task.cleaning
        return self._drops_repeats or self._near is not None or cleaning.held_out is not None

    def _reject(
        self, builder: PartBuilder, number: int, error: RowError, text: dict[str, Any]
    ) -> None:
        line = orjson.dumps(text, option=orjson.OPT_APPEND_NEWLINE)
        builder.reject(number, str(error.reason), error.field, line)
        if self._near is not None:
            self._said.append("")


@dataclass(frozen=True, slots=True)
class _Raw:
    """A record as it stood: its value, its bytes where there are any, what its source says."""

    value: Any
    data: bytes | None
    place: str
    problem: str

    def sound(self) -> Any:
        """The value, if its source found nothing wrong with it."""
        if self.problem:
            raise RowError(Reason.BAD_TRACE, self.place, self.problem)
        return self.value

    def line(self) -> bytes:
        return self.data if self.data is not None else orjson.dumps(self.value)


def _raw(record: TraceRecord) -> _Raw:
    return _Raw(dict(record.value), None, record.place, record.problem)


def _plain(seen: Conversation) -> dict[str, Any]:
    """A changed row as it is now: what was blotted out does not come back among the rejected."""
    return {"messages": seen.messages, "tools": seen.tools, "source_id": seen.source_id}


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _parsed(line: Line) -> dict[str, Any]:
    if line.too_big:
        raise RowError(
            Reason.LINE_TOO_BIG,
            "",
            f"{line.size} bytes; a row may have {MAX_LINE}. Is a line ending missing?",
        )
    return parse_line(line.data)


assert len(SPLITS) < REJECTED
