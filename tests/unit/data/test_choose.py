"""Which of several alike rows stays, and what the held-out side does to the others."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from understudy.data import Dataset, lock_golden
from understudy.errors import ConfigError, DataError
from understudy.recipe import Cleaning, Split

NEAR = Cleaning(near_duplicates={})
EVEN = Split(train=0.6, validation=0.2, test=0.2)
DICE = random.Random(3)
WORDS = [f"word{number}" for number in range(900)]


def words(count: int = 80) -> str:
    return " ".join(DICE.choices(WORDS, k=count))


def call(name: str, text: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": name,
        "messages": [{"role": "user", "content": text}],
        "response": {"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"},
        **fields,
    }


def chats(count: int) -> list[dict[str, Any]]:
    return [call(f"plain-{number}", words()) for number in range(count)]


def left_out(made: Dataset) -> list[dict[str, Any]]:
    lines = (made.path / "rejected.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def gone(made: Dataset) -> list[tuple[int, str]]:
    return [(row["line"], row["reason"]) for row in left_out(made)]


def test_the_first_of_a_cluster_stays_and_is_named(run: Any) -> None:
    text = words()
    rows = [*chats(10), call("a", text), call("b", text.upper()), call("c", f"{text} indeed")]
    made = run(rows, kind="calls", cleaning=NEAR)
    assert gone(made) == [(12, "near_duplicate"), (13, "near_duplicate")]
    assert "line 11" in left_out(made)[0]["message"]
    assert left_out(made)[1]["row"] == rows[12]
    manifest = json.loads((made.path / "manifest.json").read_text("utf-8"))
    assert manifest["clusters"] == {"3": 1}


@pytest.mark.parametrize(
    ("fields", "stays"),
    [
        ([{}, {"reference": "better"}, {}], 1),
        ([{"scores": {"s": 0.5}}, {"scores": {"s": 0.4}}, {"scores": {"s": 0.9}}], 2),
        ([{}, {"scores": {"s": 0.1}}, {}], 1),
        ([{"scores": {"s": 1}}, {"reference": "better"}, {}], 1),
        ([{}, {}, {}], 0),
    ],
)
def test_the_best_row_stays(run: Any, fields: list[dict[str, Any]], stays: int) -> None:
    text = words()
    rows = [call(f"n{at}", f"{text} {at}", **given) for at, given in enumerate(fields)]
    made = run([*chats(10), *rows], kind="calls", cleaning=NEAR)
    expected = [(11 + at, "near_duplicate") for at in range(3) if at != stays]
    assert gone(made) == expected


def test_turns_of_one_conversation_stay_together(run: Any) -> None:
    text = words(200)
    rows = [call(f"n{at}", f"{text} {at}", conversation_id="one") for at in range(3)]
    made = run([*chats(10), *rows, call("x", text)], kind="calls", cleaning=NEAR)
    assert gone(made) == [(14, "near_duplicate")]


def test_nothing_held_out_has_its_like_among_what_is_learned(run: Any) -> None:
    bases = [words() for _ in range(120)]
    rows = [call(f"one-{at}", text) for at, text in enumerate(bases)]
    rows += [call(f"two-{at}", f"{text} once more") for at, text in enumerate(bases)]
    rows += [call(f"same-{at}", text) for at, text in enumerate(bases[:40])]
    made = run(rows, kind="calls", cleaning=NEAR, split=EVEN)
    tested = {row.source_id for row in made.examples()}
    learned = made.file("train").read_text("utf-8") + made.file("validation").read_text("utf-8")
    whole = run(rows, kind="calls", cleaning=Cleaning(drop=()), split=EVEN)
    sides = {row.source_id for row in whole.examples()}
    for at, text in enumerate(bases):
        family = {f"one-{at}", f"two-{at}", f"same-{at}"}
        kept = family & tested
        # Whatever of a family falls to the test side wins; nothing else of it is left.
        assert bool(kept) == bool(family & sides)
        assert learned.count(text) + len(kept) == 1
    assert made.kept == 120


def test_rows_that_are_added_move_no_row_to_another_side(run: Any) -> None:
    rows = chats(80)
    before = run(rows, kind="calls", cleaning=NEAR, split=EVEN)
    after = run([*chats(40), *rows], kind="calls", cleaning=NEAR, split=EVEN)
    old = {row.source_id: row.label for row in before.examples()}
    new = {row.source_id: row.label for row in after.examples()}
    assert len(old) > 5
    assert old.items() <= new.items()


def test_rows_of_a_golden_set_leave_what_is_learned(run: Any, tmp_path: Path) -> None:
    base = words()
    golden = tmp_path / "golden.jsonl"
    known = {
        "messages": [
            {"role": "system", "content": "S"},
            {"role": "user", "content": base},
            {"role": "assistant", "content": "yes"},
        ]
    }
    golden.write_text(json.dumps(known) + "\n")
    rows = [*chats(10), call("near", f"{base} indeed")]
    other = {"message": {"role": "assistant", "content": words(200)}, "finish_reason": "stop"}
    rows += [call("same question", base.upper(), response=other)]
    by_question = run(rows, kind="calls", cleaning=Cleaning(held_out=golden))
    assert gone(by_question) == [(12, "held_out")]
    made = run(rows, kind="calls", cleaning=Cleaning(near_duplicates={}, held_out=golden))
    assert gone(made) == [(11, "held_out"), (12, "held_out")]
    golden.write_text(json.dumps(known) + '\n{"a": 1}\n')
    with pytest.raises(DataError, match="neither a test row nor a chat row") as caught:
        run(rows, kind="calls", cleaning=Cleaning(held_out=golden))
    assert caught.value.line == 2


def labelled(count: int) -> list[dict[str, Any]]:
    made = []
    for number in range(count):
        label = "common" if number % 10 else "rare"
        answer = {"message": {"role": "assistant", "content": label}, "finish_reason": "stop"}
        made.append(call(f"row-{number}", f"question {number}", response=answer))
    return made


def test_a_golden_set_is_sampled_by_stratum_locked_and_versioned(run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "golden"
    split = Split(train=0.5, validation=0, test=0.5)
    dataset = run(labelled(200), kind="calls", split=split)
    first = lock_golden(dataset, folder, size=20)
    assert (first.version, first.rows) == (1, 20)
    assert first.strata.keys() == {"common", "rare"}
    assert 1 <= first.strata["rare"] <= 4
    second = lock_golden(dataset, folder, size=30)
    lines = [path.read_text("utf-8").splitlines() for path in (first.path, second.path)]
    assert lines[1][:20] == lines[0]
    assert len(set(lines[1])) == 30
    with pytest.raises(ConfigError, match="has 30 rows already"):
        lock_golden(dataset, folder, size=30)
    with pytest.raises(DataError, match="more golden rows were asked for"):
        lock_golden(dataset, folder, size=3000)
    made = run(labelled(200), kind="calls", split=split, cleaning=Cleaning(held_out=folder))
    held = {json.loads(line)["source_id"] for line in lines[1]}
    assert held <= {row.source_id for row in made.examples()}
    assert made.id != dataset.id


def test_a_locked_set_that_was_changed_is_refused(run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "golden"
    dataset = run(labelled(60), kind="calls", split=Split(train=0.5, validation=0, test=0.5))
    made = lock_golden(dataset, folder, size=5, by="length")
    assert made.path.stat().st_mode & 0o222 == 0
    made.path.chmod(0o644)
    made.path.write_bytes(made.path.read_bytes().replace(b"question", b"Question"))
    with pytest.raises(DataError, match="changed after it was locked"):
        run(labelled(60), kind="calls", cleaning=Cleaning(held_out=folder))
    with pytest.raises(DataError, match="no golden set"):
        run(labelled(60), kind="calls", cleaning=Cleaning(held_out=tmp_path))


def test_rows_added_elsewhere_leave_the_sample_as_it_was(run: Any, tmp_path: Path) -> None:
    split = Split(train=0.5, validation=0, test=0.5)
    before = run(labelled(100), kind="calls", split=split)
    more = [call(f"more-{n}", f"other {n}") for n in range(100)]
    after = run([*labelled(100), *more], kind="calls", split=split)
    one = lock_golden(before, tmp_path / "one", size=20, by="none").path.read_text("utf-8")
    other = lock_golden(after, tmp_path / "other", size=40, by="none").path.read_text("utf-8")
    old = {line for line in other.splitlines() if '"row-' in line}
    assert len(old & set(one.splitlines())) >= min(len(old), 20) * 0.9
