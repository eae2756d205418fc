"""CSV and Parquet files as calls, by a mapping of their columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import Field, model_validator

from understudy.backend import Params
from understudy.data.lines import MAX_LINE, readable
from understudy.errors import DataError
from understudy.model import TraceRecord
from understudy.validation import nearest

__all__ = ["CsvFile", "Mapped", "ParquetFile"]

_ROWS = 1_000

_COLUMNS = (
    *("messages", "user", "answer", "system", "tools", "id", "conversation_id"),
    *("model", "at", "finish_reason", "reference"),
)

Object = dict[str, Any]


class Mapped(Params):
    """Which column holds what.

    Either ``messages`` names a column with the request's messages as a JSON list (and ``answer``
    the answer, unless the list ends with it), or ``user`` and ``answer`` name columns of text.
    ``system`` is a column, ``system_text`` the same text for every row. ``answer`` may hold text
    or an assistant message as a JSON object. ``scores`` and ``metadata`` map names to columns.
    """

    messages: str | None = None
    user: str | None = None
    answer: str | None = None
    system: str | None = None
    system_text: str | None = None
    tools: str | None = None
    id: str | None = None
    conversation_id: str | None = None
    model: str | None = None
    at: str | None = None
    finish_reason: str | None = None
    reference: str | None = None
    scores: dict[str, str] = Field(default_factory=dict)
    metadata: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _says_what_was_asked(self) -> Mapped:
        if (self.messages is None) == (self.user is None):
            message = "name the column of the request: messages or user, one of them"
            raise ValueError(message)
        if self.user is not None and self.answer is None:
            message = "name the column of the answer"
            raise ValueError(message)
        return self

    def columns(self) -> set[str]:
        """All columns that are named."""
        named = {getattr(self, name) for name in _COLUMNS}
        return {*filter(None, named), *self.scores.values(), *self.metadata.values()}


class _Table:
    """What CSV and Parquet have in common."""

    class Options(Mapped):
        """The mapping."""

    def __init__(self, *, options: Mapped) -> None:
        self._map = options

    def _check(self, names: list[str], path: Path) -> None:
        for name in sorted(self._map.columns()):
            if name not in names:
                raise DataError(f"has no column {name!r}: {nearest(name, names)}", file=path)

    def _record(self, row: Mapping[str, Any], number: int) -> TraceRecord:
        try:
            return TraceRecord(value=self._call(row, number), line=number)
        except _BadCellError as error:
            value = {str(name): _plain(cell) for name, cell in row.items()}
            return TraceRecord(value=value, line=number, place=error.column, problem=error.problem)

    def _call(self, row: Mapping[str, Any], number: int) -> Object:
        columns = self._map
        messages = self._asked(row)
        answer: Any = None
        if columns.answer is not None:
            answer = _answer(_plain(row[columns.answer]))
        elif messages:
            answer = messages.pop()
        call: Object = {
            "id": str(number),
            "messages": messages,
            "response": {"message": answer} if answer is not None else None,
        }
        if answer is not None and columns.finish_reason is not None:
            call["response"]["finish_reason"] = _plain(row[columns.finish_reason])
        if columns.tools is not None:
            call["tools"] = _json(row, columns.tools)
        for name in ("id", "conversation_id", "model", "at", "reference"):
            column = getattr(columns, name)
            if column is not None and row[column] not in {None, ""}:
                call[name] = str(row[column])
        call["scores"] = {
            name: score
            for name, column in columns.scores.items()
            if (score := _number(row, column)) is not None
        }
        call["metadata"] = {name: _plain(row[column]) for name, column in columns.metadata.items()}
        return call

    def _asked(self, row: Mapping[str, Any]) -> list[Any]:
        columns = self._map
        if columns.messages is not None:
            messages = _json(row, columns.messages)
            if not isinstance(messages, list):
                raise _BadCellError(columns.messages, "must be a JSON list of messages")
        else:
            messages = [{"role": "user", "content": _plain(row[columns.user or ""])}]
        system = columns.system_text
        if columns.system is not None:
            system = str(row[columns.system] or "") or system
        return [{"role": "system", "content": system}, *messages] if system else list(messages)


class CsvFile(_Table):
    """A CSV file in UTF-8 with a header; quoted fields may hold line breaks."""

    class Options(Mapped):
        """The mapping, and how fields are parted."""

        delimiter: str = Field(default=",", min_length=1, max_length=1)

    def __init__(self, *, options: Options) -> None:
        super().__init__(options=options)
        self._delimiter = options.delimiter

    def read(self, path: Path) -> Iterator[TraceRecord]:
        """One call a row, with the line on which the row begins.

        Raises:
            DataError: the file cannot be read, is not UTF-8, or lacks a column of the mapping.
        """
        csv.field_size_limit(MAX_LINE)
        with readable(path), path.open("rb") as raw:
            text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
            reader = csv.reader(text, delimiter=self._delimiter)
            try:
                yield from self._rows(reader, path)
            except UnicodeDecodeError as error:
                raise DataError(
                    f"is not UTF-8 ({error.reason}); save it as UTF-8",
                    file=path,
                    line=reader.line_num + 1,
                ) from None
            except csv.Error as error:
                raise DataError(
                    f"is not CSV that can be read: {error}; is a quote not closed?",
                    file=path,
                    line=reader.line_num,
                ) from None

    def _rows(self, reader: Any, path: Path) -> Iterator[TraceRecord]:
        names = next(reader, None)
        if names is None:
            raise DataError("is empty; a header is needed", file=path)
        self._check(names, path)
        begins = reader.line_num + 1
        for fields in reader:
            if len(fields) == len(names):
                yield self._record(dict(zip(names, fields, strict=True)), begins)
            elif fields:
                problem = f"{len(fields)} fields where the header has {len(names)}"
                yield TraceRecord(value={"fields": fields}, line=begins, problem=problem)
            begins = reader.line_num + 1


class ParquetFile(_Table):
    """A Parquet file; lines are rows, counted from 1. Columns may hold lists and structs."""

    def read(self, path: Path) -> Iterator[TraceRecord]:
        """One call a row, read in batches.

        Raises:
            DataError: the file cannot be read, or lacks a column of the mapping.
        """
        import pyarrow.parquet as pq
        from pyarrow.lib import ArrowInvalid

        with readable(path):
            try:
                file = pq.ParquetFile(path)
            except ArrowInvalid as error:
                raise DataError(
                    f"is not a Parquet file ({str(error)[:100]}); check the path", file=path
                ) from None
            with file:
                self._check(file.schema_arrow.names, path)
                number = 0
                for batch in file.iter_batches(_ROWS, columns=sorted(self._map.columns())):
                    for row in batch.to_pylist():
                        number += 1
                        yield self._record(row, number)


class _BadCellError(Exception):
    def __init__(self, column: str, problem: str) -> None:
        self.column, self.problem = column, problem
        super().__init__(column, problem)


def _json(row: Mapping[str, Any], column: str) -> Any:
    value = row[column]
    if not isinstance(value, str):
        return _plain(value)
    if not value:
        return None
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise _BadCellError(column, f"is not JSON at character {error.pos + 1}") from None


def _answer(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("{"):
        try:
            found = orjson.loads(value)
        except orjson.JSONDecodeError:
            found = None
        if isinstance(found, dict) and found.get("role") == "assistant":
            return found
    if isinstance(value, dict):
        return value
    return None if value is None else {"role": "assistant", "content": str(value)}


def _number(row: Mapping[str, Any], column: str) -> float | None:
    value = row[column]
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _BadCellError(column, "must be a number") from None


def _plain(value: Any) -> Any:
    """A cell as JSON: structs of Parquet carry a null for every field that another row has."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
