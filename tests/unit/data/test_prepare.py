"""The flow from a source to a dataset folder."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from understudy.data import Dataset, example_tokens, prepare
from understudy.data.build import Build
from understudy.errors import ConfigError, DataError
from understudy.recipe import Cleaning, Source, Split

EVEN = Split(train=0.6, validation=0.2, test=0.2)


def chat(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": f"question {number}"},
            {"role": "assistant", "content": f"answer {number}"},
        ],
        **fields,
    }


def call(number: int, **changes: Any) -> dict[str, Any]:
    made = chat(number)
    return {
        "id": f"call-{number}",
        "conversation_id": f"talk-{number // 3}",
        "messages": made["messages"][:1],
        "response": {"message": made["messages"][1], "finish_reason": "stop"},
    } | changes


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def rejected(dataset: Dataset) -> list[tuple[int, str, str]]:
    rows = read(dataset.path / "rejected.jsonl")
    return [(row["line"], row["reason"], row["field"]) for row in rows]


def test_chat_rows_are_written_as_they_are_uploaded(run: Any) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"z": 1, "a": 2}}}
    rows = [chat(n, source_id=f"s{n}", metadata={"a": "b"}) for n in range(10)]
    rows[3] |= {"tools": [tool], "parallel_tool_calls": False}
    rows[4] |= {"tools": [], "parallel_tool_calls": False}
    made = run(rows)
    written = (made.path / "train.jsonl").read_text("utf-8").splitlines()
    plain = '{"messages":[{"role":"user","content":"question 0"},'
    assert written[0] == plain + '{"role":"assistant","content":"answer 0"}]}'
    assert json.loads(written[3])["tools"] == [tool]
    assert '"z":1,"a":2' in written[3]
    assert json.loads(written[3])["parallel_tool_calls"] is False
    assert json.loads(written[4]).keys() == {"messages"}


def test_pairs_are_written_in_the_preference_format(run: Any) -> None:
    other = [{"role": "assistant", "content": "no"}]
    pairs = [
        {
            "input": {"messages": chat(n)["messages"][:1]},
            "preferred_output": chat(n)["messages"][1:],
            "non_preferred_output": other,
        }
        for n in range(10)
    ]
    made = run(pairs, kind="preference")
    assert read(made.path / "train.jsonl") == pairs
    both = example_tokens(chat(0)["messages"]), example_tokens(chat(0)["messages"][:1] + other)
    assert made.rows("train").tokens == 10 * sum(both)
    assert made.rows("train").longest == max(both)


def test_reinforcement_rows_end_with_the_question(run: Any) -> None:
    rows = [chat(n) for n in range(9)] + [chat(9, reference="better")]
    made = run(rows, method="reinforcement")
    written = read(made.path / "train.jsonl")
    assert written[0] == {"messages": chat(0)["messages"][:1], "reference": "answer 0"}
    assert written[9]["reference"] == "better"


@pytest.mark.parametrize(("method", "like"), [("bond", "dpo"), ("best_of_n_sft", "supervised")])
def test_methods_of_best_of_n_have_the_rows_of_their_relatives(
    run: Any, method: str, like: str
) -> None:
    kind = "preference" if like == "dpo" else "chat"
    rows = [chat(number) for number in range(10)]
    if kind == "preference":
        rows = [
            {
                "input": {"messages": row["messages"][:1]},
                "preferred_output": row["messages"][1:],
                "non_preferred_output": [{"role": "assistant", "content": "no"}],
            }
            for row in rows
        ]
    made, model = (run(rows, kind=kind, method=name) for name in (method, like))
    assert read(made.path / "train.jsonl") == read(model.path / "train.jsonl")
    assert made.rows("train").tokens == model.rows("train").tokens
    assert made.path != model.path


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("chat", "dpo"),
        ("chat", "bond"),
        ("preference", "supervised"),
        ("preference", "best_of_n_sft"),
    ],
)
def test_kind_and_method_must_go_together(run: Any, kind: str, method: str) -> None:
    with pytest.raises(ConfigError, match=r"\[source\.kind\]"):
        run([], kind=kind, method=method)


def test_calls_are_cleaned_with_a_reason_each(run: Any) -> None:
    rows: list[Any] = [call(n) for n in range(12)]
    rows += [
        call(
            12,
            response={"message": {"role": "assistant", "content": "a"}, "finish_reason": "length"},
        ),
        call(13, flags=["hallucination"]),
        call(14, response=None),
        call(15, error={"code": "500"}, response=None),
        call(2),
        call(16, scores={"judge": 0.1}),
        call(17, messages=[{"role": "user", "content": "long " * 300}]),
        b"{broken\n",
        b"\n",
    ]
    made = run(
        rows,
        kind="calls",
        cleaning=Cleaning(min_score={"judge": 0.5}, max_row_tokens=500),
        max_row_tokens=200,
    )
    assert rejected(made) == [
        (13, "truncated", "response.finish_reason"),
        (14, "flagged", "flags"),
        (15, "incomplete", "response"),
        (16, "error", "error"),
        (17, "duplicate", ""),
        (18, "low_score", "scores.judge"),
        (19, "too_long", ""),
        (20, "broken_json", ""),
    ]
    assert dict(made.rejected) == dict.fromkeys((r for _, r, _ in rejected(made)), 1)
    assert (made.lines, made.blank, made.kept, made.dropped) == (21, 1, 12, 8)
    assert made.config["max_row_tokens"] == 200


def test_rejected_rows_are_kept_as_they_stood(run: Any, source: Path) -> None:
    bad = b'{"messages":  [], "z": 1, "a": "\xc3\xa9"}\n'
    made = run([chat(n) for n in range(10)] + [bad, b'{"caf\xe9": 1}\n', b"[1]\n"])
    first, second, third = read(made.path / "rejected.jsonl")
    assert first["row"] == {"messages": [], "z": 1, "a": "é"}
    assert first["file"] == source.name
    assert first["message"]
    assert second["raw"] == '{"caf\\xe9": 1}'
    assert second["bytes"] == 11
    assert third["raw"] == "[1]"


def test_one_conversation_is_never_on_both_sides(run: Any) -> None:
    made = run([call(n) for n in range(150)], kind="calls", split=EVEN)
    sides: dict[str, set[str]] = {}
    for name in ("train", "validation"):
        for row in read(made.file(name)):
            number = int(row["messages"][0]["content"].split()[1])
            sides.setdefault(f"talk-{number // 3}", set()).add(name)
    for row in made.examples("test"):
        sides.setdefault(row.source_id, set()).add("test")
    assert len(sides) == 50
    assert Counter(len(found) for found in sides.values()) == {1: 50}
    assert made.kept == 150


def test_duplicates_go_before_the_split(run: Any) -> None:
    rows = [chat(n, source_id=f"a{n}") for n in range(60)]
    rows += [chat(n, source_id=f"b{n}") for n in range(60)]
    made = run(rows, split=EVEN)
    assert made.kept == 60
    assert made.rejected == {"duplicate": 60}


def test_duplicates_stay_where_asked_with_ids_of_their_own(run: Any) -> None:
    rows = [chat(n % 50) for n in range(100)]
    made = run(rows, split=EVEN, cleaning=Cleaning(drop=()))
    ids = [row.row_id for row in made.examples()]
    assert made.kept == 100
    assert len(set(ids)) == len(ids) == made.splits["test"].rows > 0


def test_rows_added_elsewhere_move_nothing(run: Any) -> None:
    before = run([call(n) for n in range(150)], kind="calls", split=EVEN)
    after = run([call(n) for n in range(90, 300)], kind="calls", split=EVEN)
    tests = {row.row_id: row.source_id for row in before.examples() if int(row.source_id[5:]) >= 30}
    later = {row.row_id: row.source_id for row in after.examples() if int(row.source_id[5:]) < 50}
    assert tests == later


def test_the_same_inputs_are_found_and_not_read_again(
    run: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run([chat(n) for n in range(20)])
    monkeypatch.setattr(Build, "read", None)
    assert run() == first
    moved = source.with_name("moved.jsonl")
    source.rename(moved)
    assert run(source=Source(kind="chat", path=moved)) == first


def test_a_dataset_that_was_removed_is_made_again(run: Any) -> None:
    first = run([chat(n) for n in range(20)])
    (first.path / "manifest.json").unlink()
    for path in first.path.iterdir():
        path.unlink()
    first.path.rmdir()
    assert run() == first


@pytest.mark.parametrize(
    "change",
    [
        {"split": Split(train=1, validation=0, test=0, seed=18)},
        {"cleaning": Cleaning(drop=("duplicate",))},
        {"max_row_tokens": 500},
        {"method": "reinforcement"},
    ],
)
def test_what_shapes_the_rows_is_part_of_the_id(run: Any, change: dict[str, Any]) -> None:
    first = run([chat(n) for n in range(20)])
    assert run(**change).id != first.id
    assert run().id == first.id


def test_the_id_is_of_the_content_not_of_the_file(run: Any, tmp_path: Path) -> None:
    rows = b"".join(json.dumps(chat(n)).encode() + b"\n" for n in range(12))
    plain = run([rows])
    assert run([b"\xef\xbb\xbf" + rows.replace(b"\n", b"\r\n")]).id == plain.id
    assert run([rows.rstrip(b"\n")]).id == plain.id
    assert run([gzip.compress(rows)], root=tmp_path / "other").id == plain.id
    assert run([rows + json.dumps(chat(99)).encode()]).id != plain.id


SHARED = Path(__file__).resolve().parents[4] / "shared" / "datasets" / "fine-tuning-jsonl"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the example files of ../shared are not here")
@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("azure__dpo_orca_validation.jsonl", 284),
        ("azure__gsm8k_chat_train.jsonl", 449),
        ("azure__stock_toolcall_training.jsonl", 86),
        ("azure__zava_tooluse_sft_valid.jsonl", 55),
        ("cookbook__drone_training.jsonl", 103),
        ("openai-node__fine-tuning-data.jsonl", 10),
        ("ruby-openai__sarcastic.jsonl", 10),
    ],
)
def test_public_example_files_pass_whole(root: Path, name: str, rows: int) -> None:
    dpo = "dpo" in name
    made = prepare(
        source=Source(kind="preference" if dpo else "chat", path=SHARED / name),
        cleaning=Cleaning(),
        split=Split(train=1, validation=0, test=0),
        method="dpo" if dpo else "supervised",
        root=root,
    )
    assert (made.kept, made.dropped) == (rows, 0)
    assert made.rows("train").longest <= made.rows("train").tokens


@pytest.mark.skipif(not SHARED.is_dir(), reason="the example files of ../shared are not here")
@pytest.mark.parametrize("name", ["azure__sarcasm_qa.jsonl", "ruby-openai__batch.jsonl"])
def test_public_files_of_other_formats_are_refused_in_words(root: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"missing_field \d+ \(first: line 1 \[messages\]\)"):
        prepare(
            source=Source(kind="chat", path=SHARED / name),
            cleaning=Cleaning(),
            split=Split(),
            method="supervised",
            root=root,
        )
