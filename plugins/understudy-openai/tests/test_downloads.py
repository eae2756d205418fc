"""What a batch gave back: whole or not at all, on from where it broke off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from openai_kit import Wire, error
from understudy.errors import NotFound, Unavailable
from understudy.model import BatchFiles, Handle

BATCH = Handle(kind="batch", id="batch_1")
ROWS = b"".join(b'{"custom_id": "r%d"}\n' % number for number in range(50))


class Broken(httpx2.SyncByteStream):
    """Sends a part of what it announced, then the connection is gone."""

    def __init__(self, part: bytes) -> None:
        self._part = part

    def __iter__(self) -> Iterator[bytes]:
        yield self._part
        raise httpx2.RemoteProtocolError("peer closed the connection")


def content(data: bytes, *, cut: int | None = None) -> Callable[[httpx2.Request], httpx2.Response]:
    """The content of a file for one request; ``cut`` bytes of it, then the connection breaks."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        start = int(request.headers.get("range", "bytes=0-")[6:-1])
        headers = {"content-length": str(len(data) - start)}
        if start:
            headers["content-range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if cut is not None:
            stream = Broken(data[start:cut])
            return httpx2.Response(206 if start else 200, headers=headers, stream=stream)
        return httpx2.Response(206 if start else 200, headers=headers, content=data[start:])

    return answer


def given(
    wire: Wire, *contents: Any, size: int | None = len(ROWS), errors: str | None = None
) -> None:
    batch = {"id": "batch_1", "status": "completed", "output_file_id": "file-o"}
    wire.on("GET", "/batches/batch_1", batch | {"error_file_id": errors})
    wire.on("GET", "/files/file-o", {"id": "file-o", "bytes": size, "status": "processed"})
    wire.on("GET", "/files/file-o/content", *contents)


def reads(wire: Wire) -> list[str | None]:
    """From where the content was asked for, each time."""
    asked = [one for one in wire.requests if one.url.path.endswith("/content")]
    assert {one.headers["accept-encoding"] for one in asked} <= {"identity"}
    return [one.headers.get("range") for one in asked]


def test_a_file_is_fetched_once_and_whole(backend: Any, wire: Wire, tmp_path: Path) -> None:
    given(wire, content(ROWS))
    for _ in range(2):
        (path,) = backend.fetch_batch(BATCH, tmp_path / "new" / "folder").paths
        assert Path(path).read_bytes() == ROWS
    assert reads(wire) == [None]


def test_a_broken_download_goes_on_where_it_broke(backend: Any, wire: Wire, tmp_path: Path) -> None:
    given(wire, content(ROWS, cut=100), content(ROWS, cut=300), content(ROWS))
    for _ in range(2):
        with pytest.raises(Unavailable):
            backend.fetch_batch(BATCH, tmp_path)
        assert list(tmp_path.glob("*.jsonl")) == []
    (path,) = backend.fetch_batch(BATCH, tmp_path).paths
    assert Path(path).read_bytes() == ROWS
    assert reads(wire) == [None, "bytes=100-", "bytes=300-"]


def test_a_server_that_knows_no_ranges_sends_all_again(
    backend: Any, wire: Wire, tmp_path: Path
) -> None:
    given(wire, content(ROWS, cut=100), httpx2.Response(200, content=ROWS))
    with pytest.raises(Unavailable):
        backend.fetch_batch(BATCH, tmp_path)
    (path,) = backend.fetch_batch(BATCH, tmp_path).paths
    assert Path(path).read_bytes() == ROWS


def test_a_file_that_was_all_there_when_the_process_died_is_kept(
    backend: Any, wire: Wire, tmp_path: Path
) -> None:
    given(wire, content(ROWS, cut=len(ROWS)), error(416, "range not satisfiable"))
    with pytest.raises(Unavailable):
        backend.fetch_batch(BATCH, tmp_path)
    (path,) = backend.fetch_batch(BATCH, tmp_path).paths
    assert Path(path).read_bytes() == ROWS


@pytest.mark.parametrize("size", [len(ROWS), None])
def test_a_file_that_ends_within_a_row_is_fetched_again(
    backend: Any, wire: Wire, tmp_path: Path, size: int | None
) -> None:
    given(wire, content(ROWS[:-9]), content(ROWS), size=size)
    (path,) = backend.fetch_batch(BATCH, tmp_path).paths
    assert Path(path).read_bytes() == ROWS
    assert reads(wire) == [None, None]


def test_a_file_that_is_shorter_than_told_is_fetched_again(
    backend: Any, wire: Wire, tmp_path: Path
) -> None:
    whole_rows = ROWS[: ROWS.index(b"r30") - 15]
    given(wire, content(whole_rows), content(ROWS))
    (path,) = backend.fetch_batch(BATCH, tmp_path).paths
    assert Path(path).read_bytes() == ROWS


def test_what_is_cut_the_same_way_twice_is_what_the_provider_has(
    backend: Any, wire: Wire, tmp_path: Path
) -> None:
    given(wire, content(ROWS[:-9]))
    (path,) = backend.fetch_batch(BATCH, tmp_path).paths
    assert Path(path).read_bytes() == ROWS[:-9]
    assert reads(wire) == [None, None]


@pytest.mark.parametrize("last", [b"", b"\n", b'{"custom_id": "last"}'])
def test_an_end_without_a_newline_is_no_cut(
    backend: Any, wire: Wire, tmp_path: Path, last: bytes
) -> None:
    given(wire, content(ROWS + last), size=None)
    (path,) = backend.fetch_batch(BATCH, tmp_path).paths
    assert Path(path).read_bytes() == ROWS + last
    assert reads(wire) == [None]


def test_files_that_expired_are_named_and_the_others_are_read(
    backend: Any, wire: Wire, tmp_path: Path
) -> None:
    given(wire, content(ROWS), errors="file-e")
    wire.on("GET", "/files/file-e", error(404, "No such File object: file-e"))
    found = backend.fetch_batch(BATCH, tmp_path)
    assert (len(found.paths), found.gone) == (1, ("file-e",))


@pytest.mark.parametrize("fields", [{"output_file_id": None}, {"output_file_id": ""}, {}])
def test_no_files_at_all_is_nothing(
    backend: Any, wire: Wire, tmp_path: Path, fields: dict[str, object]
) -> None:
    told = {"id": "batch_1", "status": "completed", "error_file_id": "", **fields}
    wire.on("GET", "/batches/batch_1", told)
    assert backend.fetch_batch(BATCH, tmp_path) == BatchFiles()


def test_an_empty_error_file_is_read_as_nothing(backend: Any, wire: Wire, tmp_path: Path) -> None:
    given(wire, content(ROWS), errors="file-e")
    wire.on("GET", "/files/file-e", {"id": "file-e", "bytes": 0})
    wire.on("GET", "/files/file-e/content", httpx2.Response(200, content=b""))
    found = backend.fetch_batch(BATCH, tmp_path)
    assert [Path(path).stat().st_size for path in found.paths] == [len(ROWS), 0]


def test_a_providers_name_is_no_path(backend: Any, wire: Wire, tmp_path: Path) -> None:
    wire.on(
        "GET", "/batches/batch_1", {"id": "batch_1", "status": "completed", "output_file_id": ".."}
    )
    wire.on("GET", "/files/..", {"id": "..", "bytes": 1})
    with pytest.raises((NotFound, ValueError)):
        backend.fetch_batch(BATCH, tmp_path / "inner")
    assert list(tmp_path.rglob("*.jsonl")) == []
