"""Cutting a file: every line in one chunk, with the number that it has in the file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy.data.chunks import survey
from understudy.data.lines import read_lines
from understudy.errors import DataError

BODIES = st.lists(
    st.one_of(st.binary(max_size=40).filter(lambda raw: b"\n" not in raw), st.just(b"")),
    max_size=30,
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None
)
@given(
    body=BODIES, size=st.integers(1, 200), last=st.booleans(), end=st.sampled_from(["\n", "\r\n"])
)
def test_chunks_read_as_the_whole_file_does(
    source: Path, body: list[bytes], size: int, end: str, *, last: bool
) -> None:
    source.write_bytes(b"{" + end.encode().join(body) + (end.encode() if last else b""))
    whole = list(read_lines(source, max_line=25))
    found = survey(source, size=size)
    pieces = [
        line
        for chunk in found.chunks
        for line in read_lines(
            source, max_line=25, start=chunk.start, end=chunk.end, first=chunk.first
        )
    ]
    assert pieces == whole
    assert found.bytes == source.stat().st_size
    assert found.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert [chunk.index for chunk in found.chunks] == list(range(len(found.chunks)))
    assert all(chunk.end - chunk.start >= size for chunk in found.chunks[:-1])


def test_an_empty_file_has_no_chunk(source: Path) -> None:
    source.write_bytes(b"")
    assert survey(source).chunks == ()


def test_utf16_and_absent_files_are_refused(source: Path) -> None:
    with pytest.raises(DataError, match="check the path"):
        survey(source)
    source.write_bytes("{}".encode("utf-16"))
    with pytest.raises(DataError, match="UTF-16"):
        survey(source)
