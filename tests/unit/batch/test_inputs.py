from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.batch import inputs
from understudy.batch.inputs import format_of, identity, read_blocks, spool
from understudy.batch.recipe import Input
from understudy.errors import ConfigError, DataError


def rows_of(source: Input) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    for block in read_blocks(source):
        found += block.rows
        found += [
            (number, orjson.loads(line))
            for number, line in enumerate(block.lines.split(b"\n"), block.first)
            if line.strip()
        ]
    return found


ROWS = [{"q": "a b", "n": 1}, {"q": 'say "hi"\nthere', "n": 2}, {"q": "né", "n": 3}]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz", "r.ndjson"])
def test_json_lines(tmp_path: Path, name: str) -> None:
    data = b"\xef\xbb\xbf" + jsonl(ROWS).rstrip(b"\n")
    (tmp_path / name).write_bytes(gzip.compress(data, mtime=0) if name.endswith("gz") else data)
    assert rows_of(Input(path=str(tmp_path / name))) == list(enumerate(ROWS, 1))


def test_csv_with_quotes_and_line_ends(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text('q,n\na b,1\n"say ""hi""\nthere",2\n', encoding="utf-8-sig")
    found = rows_of(Input(path=str(tmp_path / "r.csv")))
    assert found == [(2, {"q": "a b", "n": "1"}), (4, {"q": 'say "hi"\nthere', "n": "2"})]


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "r.parquet")
    assert rows_of(Input(path=str(tmp_path / "r.parquet"))) == list(enumerate(ROWS, 1))


def test_any_fsspec_url(tmp_path: Path) -> None:
    import fsspec

    with fsspec.open("memory://understudy/r.jsonl", "wb") as file:
        file.write(jsonl(ROWS))
    source = Input(path="memory://understudy/r.jsonl")
    assert rows_of(source) == list(enumerate(ROWS, 1))
    assert identity(source).startswith("remote:")


def test_rows_of_a_program_are_spooled_by_their_content(tmp_path: Path) -> None:
    path = spool((row for row in ROWS), tmp_path / "spool")
    assert spool(iter(ROWS), tmp_path / "spool") == path
    assert rows_of(Input(path=str(path))) == list(enumerate(ROWS, 1))
    with pytest.raises(DataError, match="2"):
        spool([{"q": "a"}, {"q": object()}], tmp_path / "spool")
    assert list((tmp_path / "spool").iterdir()) == [path]


@settings(deadline=None)
@given(st.lists(st.integers(0, 90), max_size=30), st.booleans())
def test_blocks_cut_no_line_and_number_them_all(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], ended: bool
) -> None:
    folder = tmp_path_factory.mktemp("blocks")
    lines = [f'{{"n":{n},"x":"{"x" * size}"}}' for n, size in enumerate(sizes, 1)]
    data = "\n".join(lines) + ("\n" if ended and lines else "")
    (folder / "r.jsonl").write_text(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs, "_BLOCK", 64)
        found = rows_of(Input(path=str(folder / "r.jsonl")))
    assert [(number, row["n"]) for number, row in found] == [
        (n, n) for n in range(1, len(sizes) + 1)
    ]


def test_a_line_that_is_too_long_is_skipped_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_BLOCK", 64)
    monkeypatch.setattr(inputs, "_MAX_LINE", 200)
    lines = [b'{"n":1}', b'{"x":"' + b"x" * 999 + b'"}', b'{"n":3}', b'{"n":4}']
    (tmp_path / "r.jsonl").write_bytes(b"\n".join(lines))
    source = Input(path=str(tmp_path / "r.jsonl"))
    assert rows_of(source) == [(1, {"n": 1}), (3, {"n": 3}), (4, {"n": 4})]
    assert [number for block in read_blocks(source) for number in block.too_long] == [2]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("gone.jsonl", None, "No such file"),
        ("r.jsonl", b"\xff\xfe{\x00}\x00", "UTF-16"),
        ("r.jsonl.gz", gzip.compress(b"{}" * 99, mtime=0)[:20], "damaged"),
        ("r.csv", b"q\n\xff\n", "not UTF-8"),
        ("r.parquet", b"PAR1 no", "no Parquet"),
    ],
)
def test_what_cannot_be_read_says_why(
    tmp_path: Path, name: str, data: bytes | None, said: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=said) as caught:
        list(read_blocks(Input(path=str(tmp_path / name))))
    assert name in str(caught.value)


def test_a_name_without_an_ending_asks_for_the_format() -> None:
    assert format_of(Input(path="x", format="csv")) == "csv"
    with pytest.raises(ConfigError, match="add format"):
        format_of(Input(path="s3://bucket/rows"))


def test_a_password_in_a_url_is_never_shown() -> None:
    with pytest.raises((ConfigError, DataError)) as caught:
        list(read_blocks(Input(path="nosuch://user:s3cret-pw@host/r.jsonl?sig=s3cret-sig")))
    assert "s3cret" not in str(caught.value)
