from __future__ import annotations

import gzip

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.cache import open_cache
from understudy.cache.transfer import copy_cache, export_cache, import_cache
from understudy.cache.transfer_jsonl import read_jsonl, write_jsonl
from understudy.cache.transfer_parquet import read_parquet, write_parquet
from understudy.errors import ConfigError, DataError
from understudy.testing.cache_rows import CACHE, MODEL, key, rows

ENDINGS = pytest.mark.parametrize("ending", ["jsonl", "parquet"])
HELD = {
    **dict(rows("g1", *range(30))),
    key(100): b"no JSON at all \xff\n",
    key(101): b'{"spaces": "are kept"}',
    key(102): b"",
}


@pytest.fixture
def store(tmp_path):
    with open_cache(tmp_path / "cache") as made:
        yield made


@pytest.fixture
def filled(store):
    with store.writer(CACHE, "g1", model=MODEL, meta={"recipe": "r"}) as writer:
        writer.put(HELD.items())
        writer.publish()
    return store


@ENDINGS
def test_what_is_exported_comes_back_byte_for_byte(filled, tmp_path, ending):
    path = tmp_path / "out" / f"g1.{ending}"
    assert export_cache(filled, CACHE, path) == len(HELD)
    with open_cache(tmp_path / "elsewhere") as other:
        made = import_cache(other, "copy", path)
        assert dict(other.scan("copy")) == HELD
        assert (made.model, made.entries, made.meta["recipe"]) == (MODEL, len(HELD), "r")
        assert import_cache(other, "copy", path) == made, "found, not made again"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_jsonl_export_can_be_read_and_is_in_lines(filled, tmp_path):
    path = tmp_path / "g1.jsonl"
    export_cache(filled, CACHE, path)
    head, *lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert head["model"] == MODEL
    assert {"key": key(3).hex(), "value": {"from": "g1", "number": 3}} in lines
    packed = path.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with open_cache(tmp_path / "elsewhere") as other:
        assert import_cache(other, "copy", packed).entries == len(HELD)


def damage(path, how):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[10] = how(lines[10])
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (lambda line: line[: len(line) // 2] + b"\n", "is no JSON"),
        (lambda _: b"[1]\n", "is no JSON object"),
        (lambda line: line.replace(b'"key":"', b'"key":"zz'), "[key]: is not 64 hex digits"),
        (lambda line: line.replace(b'"value"', b'"valu"'), "[value]: is missing"),
        (lambda line: line.split(b",")[0] + b',"base64":"%%"}\n', "[value]: is missing, or"),
    ],
)
def test_a_damaged_line_is_named_and_nothing_is_published(filled, tmp_path, how, told):
    path = tmp_path / "g1.jsonl"
    export_cache(filled, CACHE, path)
    damage(path, how)
    with pytest.raises(DataError) as caught:
        import_cache(filled, CACHE, path)
    assert caught.value.line == 11
    assert told in str(caught.value)
    assert "Nothing was published" in str(caught.value)
    assert [g.id for g in filled.generations(CACHE)] == ["g1"]
    export_cache(filled, CACHE, path)
    assert import_cache(filled, CACHE, path).order == 2, "mended, it is taken in"


def test_a_file_that_ends_early_is_not_published(filled, tmp_path):
    path = tmp_path / "g1.jsonl"
    export_cache(filled, CACHE, path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-3]))
    with pytest.raises(DataError, match="ends early: it says that it has 33 rows and has 30"):
        import_cache(filled, CACHE, path)
    assert len(filled.generations(CACHE)) == 1


def test_a_damaged_parquet_file_is_not_published(filled, tmp_path):
    path = tmp_path / "g1.parquet"
    export_cache(filled, CACHE, path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="Parquet file is damaged"):
        import_cache(filled, CACHE, path)
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"key": [b"short"], "value": [b"v"]}), path)
    with pytest.raises(DataError, match="32 bytes") as caught:
        import_cache(filled, CACHE, path, model=MODEL)
    assert (caught.value.line, caught.value.field) == (1, "key")
    parquet.write_table(pa.table({"keys": [b"k"]}), path)
    with pytest.raises(DataError, match="no column 'key'"):
        import_cache(filled, CACHE, path)
    assert len(filled.generations(CACHE)) == 1


def test_files_that_are_something_else_are_refused(filled, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"messages": []}\n')
    with pytest.raises(DataError, match="no export of a cache"):
        import_cache(filled, CACHE, path)
    with pytest.raises(DataError, match="cannot be read"):
        import_cache(filled, CACHE, tmp_path / "absent.jsonl")
    with pytest.raises(ConfigError, match=r"\.jsonl or \.parquet"):
        export_cache(filled, CACHE, tmp_path / "x.csv")
    path.write_text('{"understudy_cache": 1}\n')
    with pytest.raises(ConfigError, match="--model"):
        import_cache(filled, CACHE, path)


def test_a_generation_moves_to_another_store(filled, redis_url):
    done = []
    with open_cache(redis_url) as other:
        made = copy_cache(filled, other, CACHE, noted=done.append)
        assert (made.id, made.entries) == ("g1", len(HELD))
        assert dict(other.scan(CACHE)) == HELD
        assert copy_cache(filled, other, CACHE, noted=done.append) == made


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.binary(max_size=60) | st.text(max_size=20).map(orjson.dumps)))
@pytest.mark.parametrize("form", [(write_jsonl, read_jsonl), (write_parquet, read_parquet)])
def test_any_values_come_back(tmp_path_factory, form, values):
    write, read = form
    path = tmp_path_factory.getbasetemp() / "any.export"
    held = [(key(number), each) for number, each in enumerate(values)]
    assert write(path, {"understudy_cache": 1, "model": "m"}, held) == len(held)
    head, found = read(path)
    assert (head["model"], list(found)) == ("m", held)
