"""Input rows in blocks: JSONL as bytes of whole lines, CSV and Parquet as parsed rows.

A JSONL block is parsed by whoever renders it, which may be another process. Every row keeps its
number (JSONL and CSV: the line it begins or ends on; Parquet: the row), for reasons of rejection.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal, cast

import orjson

from understudy.batch.recipe import Input
from understudy.config import shown_url
from understudy.errors import ConfigError, DataError

__all__ = ["Block", "format_of", "identity", "read_blocks", "shown", "spool"]

Format = Literal["jsonl", "csv", "parquet"]

_BLOCK = 2 * 1024 * 1024
_ROWS = 8192
_MAX_LINE = 8 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_GZIP = b"\x1f\x8b"
_ENDINGS: Mapping[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Some rows: ``lines`` (whole JSONL lines), or ``rows`` with their numbers.

    ``first`` is the number of the first line. ``too_long`` are numbers of lines that were longer
    than 8 MiB and were not read.
    """

    first: int = 0
    lines: bytes = b""
    rows: tuple[tuple[int, Mapping[str, Any]], ...] = ()
    too_long: tuple[int, ...] = ()


def format_of(source: Input) -> Format:
    """The format that the recipe says, or the name's ending.

    Raises:
        ConfigError: the ending says nothing.
    """
    if source.format is not None:
        return source.format
    name = source.path.lower().removesuffix(".gz")
    for ending, found in _ENDINGS.items():
        if name.endswith(ending):
            return found
    raise ConfigError(
        f"[input] {shown(source.path)}: the name does not tell the format; add format = "
        '"jsonl", "csv" or "parquet"'
    )


def identity(source: Input) -> str:
    """What changes when the input does: the hash of a local file, the mark of a remote one.

    Raises:
        DataError: it is not there.
    """
    if "://" in source.path:
        filesystem, path = _remote(source.path)
        try:
            return f"remote:{filesystem.ukey(path)}"
        except (OSError, ValueError, NotImplementedError) as error:
            raise _unreadable(source.path, error) from None
    try:
        with Path(source.path).open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise _unreadable(source.path, error) from None


def shown(path: str) -> str:
    """A path as it is; of a URL no password and no query."""
    return shown_url(path) if "://" in path else path


def spool(rows: Iterable[Mapping[str, Any]], folder: Path) -> Path:
    """Write rows of a program into a JSONL file named after its content.

    Raises:
        DataError: a row is no JSON object.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{id(rows)}.tmp"
    digest = hashlib.sha256()
    with temporary.open("wb") as file:
        for number, row in enumerate(rows, 1):
            try:
                line = orjson.dumps(dict(row), option=orjson.OPT_APPEND_NEWLINE)
            except (TypeError, ValueError) as error:
                temporary.unlink()
                raise DataError(f"is no JSON object: {error}", line=number) from None
            file.write(line)
            digest.update(line)
    path = folder / f"{digest.hexdigest()[:32]}.jsonl"
    temporary.rename(path)
    return path


def read_blocks(source: Input) -> Iterator[Block]:
    """The input, a block at a time; memory does not grow with it.

    Raises:
        DataError: it cannot be read, with the reason.
    """
    kind = format_of(source)
    try:
        if kind == "parquet":
            yield from _parquet(source.path)
            return
        with _opened(source.path) as file:
            yield from _jsonl(file) if kind == "jsonl" else _csv(file, source.path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        message = f"the gzip file is damaged ({error}); fetch it again"
        raise DataError(message, file=shown(source.path)) from None
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 at byte {error.start}", file=shown(source.path)) from None
    except OSError as error:
        raise _unreadable(source.path, error) from None


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    with _raw(path) as raw:
        magic = raw.read(2)
        raw.seek(0)
        if magic in _UTF16:
            raise DataError("this is UTF-16; save it as UTF-8 and run again", file=shown(path))
        if magic == _GZIP:
            with gzip.open(raw) as unzipped:
                yield cast("IO[bytes]", unzipped)
        else:
            yield raw


@contextmanager
def _raw(path: str) -> Iterator[IO[bytes]]:
    if "://" in path:
        filesystem, inside = _remote(path)
        with filesystem.open(inside, "rb") as file:
            yield file
    else:
        with Path(path).open("rb") as local:
            yield local


def _remote(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"[input] {shown(url)} cannot be opened: {error}") from None
    return found


def _unreadable(path: str, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    return DataError(f"cannot be read: {reason}; check the path", file=shown(path))


def _jsonl(file: IO[bytes]) -> Iterator[Block]:
    first = 1
    rest = b""
    while data := file.read(_BLOCK):
        if first == 1 and not rest:
            data = data.removeprefix(_BOM)
        data = rest + data
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        if len(rest) > _MAX_LINE:
            rest = _skip_line(file)
            number = first + data.count(b"\n", 0, end)
            yield Block(first=first, lines=data[:end], too_long=(number,))
            first = number + 1
        elif end:
            yield Block(first=first, lines=data[:end])
            first += data.count(b"\n", 0, end)
    if rest:
        yield Block(first=first, lines=rest)


def _skip_line(file: IO[bytes]) -> bytes:
    """Read past the end of a line that is too long; what was read after it."""
    while data := file.read(_BLOCK):
        _, newline, rest = data.partition(b"\n")
        if newline:
            return rest
    return b""


def _csv(file: IO[bytes], path: str) -> Iterator[Block]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    reader = csv.DictReader(text, strict=True)
    try:
        rows = ((reader.line_num, row) for row in reader)
        while part := tuple(islice(rows, _ROWS)):
            yield Block(first=part[0][0], rows=part)
    except csv.Error as error:
        message = f"is no CSV: {error}; quote fields that hold commas or line ends"
        raise DataError(message, file=shown(path), line=reader.line_num) from None
    finally:
        text.detach()  # the file is closed by whoever opened it


def _parquet(path: str) -> Iterator[Block]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ConfigError(
            f"[input] {shown(path)}: Parquet needs pyarrow; pip install 'understudy[parquet]'"
        ) from None
    number = 1
    with _raw(path) as file:
        try:
            for batch in parquet.ParquetFile(file).iter_batches(batch_size=_ROWS):
                rows = tuple(enumerate(batch.to_pylist(), number))
                yield Block(first=number, rows=rows)
                number += len(rows)
        except ArrowException as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"is no Parquet file: {reason}", file=shown(path)) from None
