"""The line reader: any bytes, every line, bounded memory."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy.data.lines import Line, read_lines
from understudy.errors import DataError


def lines_of(path: Path, content: bytes, max_line: int = 1000) -> list[Line]:
    path.write_bytes(content)
    return list(read_lines(path, max_line=max_line))


def test_endings_mark_and_missing_last_newline(source: Path) -> None:
    found = lines_of(source, b'\xef\xbb\xbf{"a":1}\r\n\n  \t\r\n{"b":2}\nlast')
    assert [(line.number, line.data) for line in found] == [
        (1, b'{"a":1}'),
        (2, b""),
        (3, b""),
        (4, b'{"b":2}'),
        (5, b"last"),
    ]
    assert not any(line.too_big for line in found)


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n", b"\r\n"])
def test_next_to_nothing(source: Path, content: bytes) -> None:
    assert all(line.size == 0 for line in lines_of(source, content))


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("extra", [-1, 0, 1, 2, 3, 5000])
def test_a_line_around_the_limit_is_whole_or_measured(
    source: Path, ending: bytes, extra: int
) -> None:
    long = b"x" * (100 + extra)
    first, second = lines_of(source, long + ending + b"next" + ending, max_line=100)
    assert first.size == len(long)
    assert first.too_big == (extra > 0)
    assert first.too_big or first.data == long
    assert second == Line(2, b"next", 4)


def test_a_huge_line_is_skipped_in_bounded_memory(source: Path) -> None:
    size = 64 << 20
    with source.open("wb") as file:
        file.write(b"before\n")
        # A hole: as long as a real line for the reader, and next to nothing on the disk.
        file.seek(size, 1)
        file.write(b"\nafter")
    tracemalloc.start()
    found = [(line.number, line.size, line.data[:6]) for line in read_lines(source)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [(1, 6, b"before"), (2, size, b"\0" * 6), (3, 5, b"after")]
    assert peak < 40 << 20


def test_gzip_is_read_as_what_it_holds(source: Path) -> None:
    assert [line.data for line in lines_of(source, gzip.compress(b"a\nb\n"))] == [b"a", b"b"]


@pytest.mark.parametrize("keep", [-4, 15])
def test_a_cut_gzip_file_is_a_clear_error(source: Path, keep: int) -> None:
    with pytest.raises(DataError, match="gzip file is damaged") as caught:
        lines_of(source, gzip.compress(b"a row\n" * 99)[:keep])
    assert caught.value.file == str(source)


def test_utf16_is_named(source: Path) -> None:
    with pytest.raises(DataError, match="UTF-16"):
        lines_of(source, "{}".encode("utf-16"))


def test_an_absent_file_is_a_clear_error(source: Path) -> None:
    with pytest.raises(DataError, match=r"No such file.*check the path"):
        list(read_lines(source))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), limit=st.integers(1, 50))
def test_every_line_is_there_once(source: Path, content: bytes, limit: int) -> None:
    if content.startswith((b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff")):
        content = b"." + content
    found = lines_of(source, content, max_line=limit)
    plain = content.removeprefix(b"\xef\xbb\xbf")
    expected = plain.split(b"\n")
    if expected[-1] == b"" and (len(expected) > 1 or not content):
        expected.pop()
    assert [line.number for line in found] == list(range(1, len(expected) + 1))
    for line, text in zip(found, expected, strict=True):
        whole = text.removesuffix(b"\r")
        if not line.too_big:
            assert line.data in {whole, text} or (line.data == b"" and not text.strip())
        else:
            assert limit < line.size <= len(text)
            assert text.startswith(line.data)
