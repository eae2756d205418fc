"""The dataset record: found, loaded, verified."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import pytest

from understudy.data import list_datasets, load_dataset
from understudy.errors import DataError
from understudy.recipe import Split

SPLIT = Split(train=0.5, validation=0.25, test=0.25)


def rows(count: int = 80) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": f"question {n}"},
                {"role": "assistant", "content": f"answer {n}"},
            ],
            "source_id": f"talk-{n}",
            "reference": f"better {n}" if n % 2 else None,
        }
        for n in range(count)
    ]


def test_manifest_counts_what_is_in_the_files(run: Any) -> None:
    made = run(rows(), split=SPLIT)
    for name, info in made.splits.items():
        content = made.file(name).read_bytes()
        assert info.rows == content.count(b"\n") > 0
        assert info.bytes == len(content)
        assert info.sha256 == hashlib.sha256(content).hexdigest()
        assert 0 < info.longest < info.tokens
    manifest = json.loads((made.path / "manifest.json").read_text("utf-8"))
    assert manifest["id"] == made.id == made.path.name
    assert manifest["config"]["split"]["seed"] == 17
    assert manifest["source"]["sha256"]
    assert str(made.path.parent) not in json.dumps(manifest)


def test_rows_are_what_a_backend_takes(run: Any) -> None:
    made = run(rows(), split=SPLIT)
    train = made.rows("train")
    assert train.path == str(made.path / "train.jsonl")
    assert (train.rows, train.sha256) == (made.splits["train"].rows, made.splits["train"].sha256)
    assert made.validation == made.rows("validation")
    whole = run(rows(), split=Split(train=1, validation=0, test=0))
    assert whole.validation is None
    assert list(whole.examples()) == []


def test_test_rows_hold_question_label_and_reference(run: Any) -> None:
    made = run(rows(), split=SPLIT)
    found = list(made.examples("test"))
    assert len(found) == made.splits["test"].rows
    for row in found:
        number = row.source_id.removeprefix("talk-")
        assert [m["role"] for m in row.messages] == ["system", "user"]
        assert row.messages[1]["content"] == f"question {number}"
        assert row.label == f"answer {number}"
        assert row.reference == (f"better {number}" if int(number) % 2 else None)
        assert row.expected == (row.reference or row.label)
        assert "question" not in repr(row)
    assert len({row.row_id for row in found}) == len(found)


def test_only_test_rows_are_examples(run: Any) -> None:
    with pytest.raises(DataError, match="ask for 'test'"):
        list(run(rows(), split=SPLIT).examples("train"))


def test_load_gives_the_same_record(run: Any) -> None:
    made = run(rows(), split=SPLIT)
    assert load_dataset(made.path, verify=True) == made
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.id = "other"


def test_a_changed_file_is_found_when_asked(run: Any) -> None:
    made = run(rows(), split=SPLIT)
    with made.file("test").open("ab") as file:
        file.write(b"\n")
    assert load_dataset(made.path) == made
    with pytest.raises(DataError, match="was changed after it was written") as caught:
        load_dataset(made.path, verify=True)
    assert caught.value.file == str(made.file("test"))


def test_a_damaged_test_row_is_named(run: Any) -> None:
    made = run(rows(), split=SPLIT)
    made.file("test").write_bytes(b"{}\n")
    with pytest.raises(DataError, match="is damaged") as caught:
        list(made.examples())
    assert caught.value.line == 1


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"{"])
def test_a_damaged_manifest_is_a_clear_error(run: Any, content: bytes) -> None:
    made = run(rows(), split=SPLIT)
    (made.path / "manifest.json").write_bytes(content)
    with pytest.raises(DataError, match="damaged; remove the folder"):
        load_dataset(made.path)


def test_a_later_format_asks_for_an_upgrade(run: Any) -> None:
    made = run(rows(), split=SPLIT)
    place = made.path / "manifest.json"
    place.write_text(json.dumps(json.loads(place.read_text("utf-8")) | {"format": 99}), "utf-8")
    with pytest.raises(DataError, match="upgrade understudy"):
        load_dataset(made.path)


def test_no_dataset_there(root: Any) -> None:
    assert list_datasets(root) == []
    with pytest.raises(DataError, match="cannot be read"):
        load_dataset(root)


def test_list_has_them_all_in_order(run: Any, root: Any) -> None:
    made = {run(rows(count), split=SPLIT).id for count in (80, 81, 82)}
    assert [dataset.id for dataset in list_datasets(root)] == sorted(made)
