"""CSV and Parquet files, and what the choice of a source refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.errors import ConfigError, DataError
from understudy.recipe import Cleaning, Source

MAP = {"user": "question", "answer": "reply"}


def rows_of(made: Any, name: str = "train") -> list[dict[str, Any]]:
    return [json.loads(line) for line in made.file(name).read_text("utf-8").splitlines()]


def rejected(made: Any) -> list[dict[str, Any]]:
    lines = (made.path / "rejected.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture
def table(run: Any, tmp_path: Path) -> Any:
    def call(
        content: Any, kind: str = "csv", cleaning: Cleaning | None = None, **options: Any
    ) -> Any:
        path = tmp_path / f"table.{kind}"
        if isinstance(content, str):
            path.write_text(content, "utf-8", newline="")
        elif isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            pq.write_table(pa.Table.from_pylist(content), path, row_group_size=7)
        given = Source(kind=kind, path=path, options=options)
        return run(source=given, cleaning=cleaning or Cleaning())

    return call


def test_rows_of_a_csv_file_with_line_breaks_know_their_lines(table: Any) -> None:
    lines = [f'q{n},"first\nsecond, {n}"\r\n' for n in range(10)]
    content = "\ufeffquestion,reply\r\n" + "".join(lines) + "lonely\r\n\r\nlast,\r\n"
    made = table(content, system_text="Be kind.", **MAP)
    assert rows_of(made)[3]["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "q3"},
        {"role": "assistant", "content": "first\nsecond, 3"},
    ]
    assert [(row["line"], row["reason"], row["message"]) for row in rejected(made)] == [
        (22, "bad_trace", "1 fields where the header has 2"),
        (24, "incomplete", "the answer is empty"),
    ]
    assert rejected(made)[0]["file"] == "table.csv"


def test_columns_of_json_scores_and_metadata(table: Any) -> None:
    head = "chat;out;rating;env;talk;why\n"
    asked = '"[{""role"": ""user"", ""content"": ""q"" }]"'
    lines = [f"{asked};a{n};0.9;prod;t{n};stop\n" for n in range(10)]
    lines += [
        f"{asked};low;0.1;prod;t;stop\n",
        f"{asked};odd;high;prod;t;stop\n",
        '"[{";broken;0.9;prod;t;stop\n',
        f"{asked};cut;0.9;prod;t;length\n",
        f"{asked};tested;0.9;staging;t;stop\n",
        '"{}";no list;0.9;prod;t;stop\n',
    ]
    options = {
        "messages": "chat",
        "answer": "out",
        "delimiter": ";",
        "scores": {"quality": "rating"},
        "metadata": {"env": "env"},
        "conversation_id": "talk",
        "finish_reason": "why",
    }
    with pytest.raises(ConfigError, match=r"\[source\.options\] csv.*anser"):
        table(head, **MAP, anser="x")
    cleaning = Cleaning(min_score={"quality": 0.5}, filters=({"use": "test_traffic"},))
    made = table(head + "".join(lines), cleaning=cleaning, **options)
    assert made.kept == 10
    assert [(row["line"], row["reason"], row["field"]) for row in rejected(made)] == [
        (12, "low_score", "scores.quality"),
        (13, "bad_trace", "rating"),
        (14, "bad_trace", "chat"),
        (15, "truncated", "response.finish_reason"),
        (16, "test_traffic", "metadata.env"),
        (17, "bad_trace", "chat"),
    ]


def test_a_mapping_is_held_against_the_header(table: Any) -> None:
    with pytest.raises(DataError, match="has no column 'reply': did you mean 'replay'"):
        table("question,replay\n", **MAP)
    with pytest.raises(ConfigError, match="messages or user, one of them"):
        table("a\n", answer="a")
    with pytest.raises(DataError, match="is empty"):
        table("", **MAP)


def test_a_csv_file_that_is_no_text_names_the_line(table: Any) -> None:
    with pytest.raises(DataError, match="save it as UTF-8"):
        table(b"question,reply\na,b\nc,\xff\n", **MAP)
    with pytest.raises(DataError, match="is a quote not closed"):
        table("question,reply\n" + '"' + "x" * (9 << 20), **MAP)


def test_parquet_rows_hold_lists_and_structs(table: Any) -> None:
    chat = [{"role": "user", "content": "q", "name": None}]
    rows = [{"chat": chat, "reply": f"a{n}", "score": 0.5, "day": n} for n in range(20)] + [
        {"chat": [], "reply": "a", "score": None, "day": 1}
    ]
    made = table(rows, "parquet", messages="chat", answer="reply", scores={"s": "score"})
    assert made.kept == 20
    assert rows_of(made)[4]["messages"] == [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a4"},
    ]
    assert [(row["line"], row["reason"]) for row in rejected(made)] == [(21, "assistant_only")]


def test_a_parquet_answer_may_be_a_message_and_the_list_may_end_with_it(table: Any) -> None:
    answer = {"role": "assistant", "content": "done"}
    rows = [{"chat": [{"role": "user", "content": f"q{n}"}, answer]} for n in range(10)]
    made = table(rows, "parquet", messages="chat")
    assert rows_of(made)[2]["messages"] == [{"role": "user", "content": "q2"}, answer]


def test_what_is_no_parquet_file_is_told(table: Any) -> None:
    with pytest.raises(DataError, match="is not a Parquet file"):
        table(b"question,reply\n", "parquet", **MAP)


def test_unknown_sources_and_options_are_answered_with_the_nearest(run: Any, source: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'parquet'"):
        run([], source=Source(kind="parket", path=source))
    with pytest.raises(ConfigError, match=r"'calls' has none; leave user out"):
        run([], source=Source(kind="calls", path=source, options={"user": "a"}))
    with pytest.raises(ConfigError, match=r"filters\.0\] use: .*did you mean 'refusal'"):
        run([], cleaning=Cleaning(filters=({"use": "refusals"},)))
    with pytest.raises(ConfigError, match=r"filters\.0\] score: .*least, most or both"):
        run([], cleaning=Cleaning(filters=({"use": "score", "name": "a"},)))
