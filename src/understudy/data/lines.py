"""A line reader that survives any file: bounded memory, every line numbered, nothing lost."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, cast

from understudy.errors import DataError, UnderstudyError

__all__ = ["MAX_LINE", "Line", "is_gzip", "read_lines", "readable"]

MAX_LINE = 8 * 1024 * 1024
"""Longest line that is read, in bytes. A longer one is skipped in chunks of this size or less."""

_CHUNK = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_GZIP = b"\x1f\x8b"
_HEAD = 256


class Line(NamedTuple):
    """One line without its ending.

    ``data`` is b"" for a blank line. Where the line was longer than ``MAX_LINE`` it holds only
    the beginning and ``size`` says how many bytes there were, the ending not counted.
    """

    number: int
    data: bytes
    size: int

    @property
    def too_big(self) -> bool:
        """Whether the line was longer than what is read."""
        return self.size > len(self.data) > 0


def read_lines(
    path: Path, *, max_line: int = MAX_LINE, start: int = 0, end: int | None = None, first: int = 1
) -> Iterator[Line]:
    """The lines of a text file or a gzip file of text, one at a time.

    A byte order mark, CRLF endings and a missing last newline are taken in stride. At most about
    ``max_line`` bytes are held, however long a line is.

    Args:
        path: the file.
        max_line: longest line that is read whole, in bytes.
        start: of a piece of a plain file, in bytes: where a line begins.
        end: of that piece: where a line ends.
        first: number of the first line of the piece.

    Raises:
        DataError: the file cannot be opened, is UTF-16, or is a damaged gzip file.
    """
    with readable(path), path.open("rb") as raw:
        magic = raw.read(2)
        raw.seek(start)
        if magic in _UTF16:
            raise DataError("this is UTF-16; save it as UTF-8 and run again", file=path)
        if magic != _GZIP:
            yield from _lines(raw, max_line, first, None if end is None else end - start)
            return
        with gzip.open(raw) as unzipped:
            yield from _lines(cast("IO[bytes]", unzipped), max_line, first, None)


def is_gzip(path: Path) -> bool:
    """Whether the file is packed by gzip."""
    with readable(path), path.open("rb") as raw:
        return raw.read(2) == _GZIP


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what the system says about ``path`` into a ``DataError``."""
    try:
        yield
    except UnderstudyError:
        raise  # Unavailable and AuthError are OSErrors too, and none of the file's
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"the gzip file is damaged ({error}); fetch it again", file=path) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}; check the path", file=path) from None


def _lines(file: IO[bytes], max_line: int, first: int, left: int | None) -> Iterator[Line]:
    number = first - 1
    # Two more than the limit leave room for the ending of a line that just fits.
    while (left is None or left > 0) and (data := file.readline(max_line + 2)):
        number += 1
        whole = data.endswith(b"\n")
        if left is not None:
            left -= len(data)
        if number == 1:
            data = data.removeprefix(_BOM)
        text = data.removesuffix(b"\n").removesuffix(b"\r") if whole else data
        if len(text) > max_line:
            rest, read = (0, 0) if whole else _skip(file, data[-1:])
            if left is not None:
                left -= read
            yield Line(number, text[: min(_HEAD, max_line)], len(text) + rest)
        elif text.isspace():
            yield Line(number, b"", 0)
        else:
            yield Line(number, text, len(text))


def _skip(file: IO[bytes], last: bytes) -> tuple[int, int]:
    """Reads past the end of the line whose byte before was ``last``.

    Returns:
        How many bytes of it were left without the ending, and how many were read.
    """
    skipped = 0
    while chunk := file.readline(_CHUNK):
        skipped += len(chunk)
        if chunk.endswith(b"\n"):
            ending = (last[-1:] + chunk)[-2:]
            return skipped - (2 if ending == b"\r\n" else 1), skipped
        last = chunk
    return skipped, skipped
