"""How often each query stands in a log: exact counts in bounded memory.

Queries are counted in memory while they are few. Past that the counts so far go to partition
files by hash, so that all lines about one query are in one file, and each file is counted alone.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import orjson

from understudy.batch.inputs import Block, read_blocks
from understudy.batch.recipe import Input
from understudy.errors import DataError

__all__ = ["CountClass", "QueryLog", "tally"]

_IN_MEMORY = 300_000
_PARTITIONS = 256


@dataclass(slots=True)
class CountClass:
    """All queries that stand in the log equally often: how many, and their tokens."""

    keys: int = 0
    tokens: int = 0


@dataclass(kw_only=True)
class QueryLog:
    """A log, counted.

    ``classes`` are by count. ``traffic`` is the sum of all counts. ``rejected`` says how many
    rows did not count, by reason; the rows themselves are in the rejects file.
    """

    classes: dict[int, CountClass] = field(default_factory=dict[int, CountClass])
    traffic: int = 0
    rejected: Counter[str] = field(default_factory=Counter[str])
    _parts: Callable[[], Iterator[Mapping[bytes, int]]] = field(default=lambda: iter(()))

    @property
    def distinct(self) -> int:
        """Different queries."""
        return sum(each.keys for each in self.classes.values())

    def head(self, keys: int) -> Iterator[tuple[bytes, int]]:
        """The ``keys`` most frequent queries: their row as JSON, and the count; in no order."""
        least, of_least = self._least(keys)
        for part in self._parts():
            for text, count in part.items():
                if count > least:
                    yield text, count
                elif count == least and of_least > 0:
                    of_least -= 1
                    yield text, count

    def _least(self, keys: int) -> tuple[int, int]:
        """The count of the last class that is wanted, and how many of it."""
        left = keys
        for count in sorted(self.classes, reverse=True):
            if self.classes[count].keys >= left:
                return count, left
            left -= self.classes[count].keys
        return 0, 0


def tally(
    source: Input,
    *,
    folder: Path,
    fields: Sequence[str] = (),
    count_field: str | None = None,
    tokens_of: Callable[[str], int] | None = None,
    rejects: Path | None = None,
) -> QueryLog:
    """Count a log, in JSONL, CSV or Parquet.

    Args:
        source: the log; ``path`` may be any fsspec URL.
        folder: empty, for partition files; must stay while the result is used.
        fields: what makes two rows the same query; default: every field but ``count_field``.
        count_field: how often a row was asked; without it every row counts once.
        tokens_of: counts the tokens of a query's text, for its cost.
        rejects: where rows that do not count are written, each with file, line, field and reason.

    Raises:
        DataError: the log cannot be read, or no row of it counts.
        ConfigError: its name does not tell the format.
    """
    counts = _Counts(folder)
    log = QueryLog(_parts=counts.parts)
    with _Rejects(source.path, rejects, log.rejected) as refused:
        for row, number, raw in _rows(source, refused):
            found = _query(row, fields, count_field)
            if isinstance(found, _Wrong):
                refused(number, found.field, found.reason, raw or row)
                continue
            text, times = found
            counts.add(text, times)
            log.traffic += times
    if not log.traffic:
        raise DataError(
            f"no row counts ({dict(log.rejected) or 'it is empty'}); name the fields that make "
            "up a query",
            file=source.path,
        )
    for part in counts.parts():
        for text, times in part.items():
            each = log.classes.setdefault(times, CountClass())
            each.keys += 1
            if tokens_of is not None:
                each.tokens += tokens_of(_text(text))
    return log


@dataclass(frozen=True, slots=True)
class _Wrong:
    field: str | None
    reason: str


def _query(
    row: Mapping[str, Any], fields: Sequence[str], count_field: str | None
) -> tuple[bytes, int] | _Wrong:
    times = 1
    if count_field is not None:
        if count_field not in row:
            return _Wrong(count_field, "is missing")
        try:
            times = int(str(row[count_field]))
        except ValueError:
            times = 0
        if times < 1:
            return _Wrong(count_field, "is no whole number above 0")
    missing = next((name for name in fields if row.get(name) is None), None)
    if missing is not None:
        return _Wrong(missing, "is missing")
    names = fields or [name for name in row if name != count_field]
    try:
        text = orjson.dumps({name: row[name] for name in names}, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError):
        return _Wrong(None, "is no JSON object")
    return (text, times) if names else _Wrong(None, "has no fields")


def _text(row: bytes) -> str:
    return " ".join(str(value) for value in orjson.loads(row).values())


class _Rejects:
    """Counts what is refused and writes it down as it comes."""

    def __init__(self, source: str, path: Path | None, reasons: Counter[str]) -> None:
        self._source, self._path, self._reasons = source, path, reasons
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def __call__(self, line: int, name: str | None, reason: str, row: Any) -> None:
        self._reasons[f"{name} {reason}" if name else reason] += 1
        if self._path is None:
            return
        if self._file is None:
            self._file = self._path.open("wb")
        kept = row.decode("utf-8", "replace") if isinstance(row, bytes) else row
        record = {
            "file": self._source,
            "line": line,
            "field": name,
            "reason": reason,
            "row": kept,
        }
        self._file.write(orjson.dumps(record, default=str, option=orjson.OPT_APPEND_NEWLINE))


def _rows(source: Input, refused: _Rejects) -> Iterator[tuple[Mapping[str, Any], int, bytes]]:
    """Rows with their number, and the line they stand in where there is one."""
    for block in read_blocks(source):
        for number in block.too_long:
            refused(number, None, "is longer than 8 MiB", None)
        for number, row in block.rows:
            yield row, number, b""
        yield from _parsed(block, refused)


def _parsed(block: Block, refused: _Rejects) -> Iterator[tuple[Mapping[str, Any], int, bytes]]:
    for number, line in enumerate(block.lines.splitlines(), block.first):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            refused(number, None, "is no JSON", line)
            continue
        if isinstance(row, dict):
            yield row, number, line
        else:
            refused(number, None, "is no JSON object", line)


class _Counts:
    """Counts by query, in memory or in partition files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._counts: Counter[bytes] = Counter()
        self._spilled = False

    def add(self, text: bytes, times: int) -> None:
        if text in self._counts:
            self._counts[text] += times
            return
        # A copy: orjson hands out its whole buffer, thirty times what a short text needs.
        self._counts[bytes(memoryview(text))] = times
        if len(self._counts) >= _IN_MEMORY:
            self._spill()

    def parts(self) -> Iterator[Mapping[bytes, int]]:
        """All counts, in parts of which each is whole for its queries."""
        if not self._spilled:
            yield self._counts
            return
        self._spill()
        for path in sorted(self._folder.glob("*.part")):
            counts: Counter[bytes] = Counter()
            with path.open("rb") as file:
                for line in file:
                    times, _, text = line.partition(b"\t")
                    counts[text[:-1]] += int(times)
            yield counts

    def _spill(self) -> None:
        lines: dict[int, list[bytes]] = {}
        for text, times in self._counts.items():
            lines.setdefault(zlib.crc32(text) % _PARTITIONS, []).append(b"%d\t%b\n" % (times, text))
        for number, part in lines.items():
            with (self._folder / f"{number:03d}.part").open("ab") as file:
                file.writelines(part)
        self._counts.clear()
        self._spilled = True
