"""The same dataset wherever the work is done; and what was planted is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from understudy.data import Dataset, engine, prepare
from understudy.data.engine import Engine
from understudy.errors import ConfigError, Unavailable
from understudy.recipe import Cleaning, Source, Split

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
ROWS = 1_500


@pytest.fixture(scope="module")
def planted() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    import planted as module

    yield module
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def log(planted: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("planted") / "calls.jsonl"
    return path, planted.generate(path, ROWS, seed=4)


def cleaning_of(planted: Any, path: Path) -> Cleaning:
    return Cleaning(**planted.CLEANING, held_out=path.with_name(f"{path.name}.golden.jsonl"))


def built(path: Path, cleaning: Cleaning, root: Path, engine: Engine | None = None) -> Dataset:
    return prepare(
        source=Source(kind="calls", path=path),
        cleaning=cleaning,
        split=Split(),
        method="supervised",
        root=root,
        engine=engine,
    )


@pytest.fixture(scope="module")
def inline(
    planted: Any, log: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory
) -> Dataset:
    return built(log[0], cleaning_of(planted, log[0]), tmp_path_factory.mktemp("inline"))


def left_out(dataset: Dataset) -> list[dict[str, Any]]:
    lines = (dataset.path / "rejected.jsonl").read_bytes().splitlines()
    return [json.loads(line) for line in lines]


def test_what_was_planted_is_found_and_nothing_else(
    planted: Any, log: tuple[Path, dict[str, Any]], inline: Dataset
) -> None:
    dropped = {row["line"]: row["reason"] for row in left_out(inline)}
    tested = {int(row.source_id.removeprefix("talk-")) for row in inline.examples()}
    found = {row[0]: row for row in planted.judge(log[1], dropped, tested)}
    for kind in ("near-duplicate A", "near-duplicate B", "near-duplicate C"):
        _, rows, recall, precision = found[kind]
        assert rows > 30
        assert recall >= 0.97, kind
        assert precision >= 0.99, kind
    for kind in (*planted.DEFECTS, "held out"):
        _, rows, recall, precision = found[kind]
        assert rows > 0, kind
        assert recall == precision == 1, kind


def test_no_near_duplicate_is_on_both_sides(
    planted: Any, log: tuple[Path, dict[str, Any]], inline: Dataset
) -> None:
    tested = {row.source_id for row in inline.examples()}
    assert tested
    gone = {row["line"] for row in left_out(inline)}
    copies = {
        copy: original
        for copy, original in log[1]["family"].items()
        if log[1]["kinds"][copy - 1] in "ABC" and not {copy, original} & gone
    }
    # What MinHash missed may be apart; all others have lost one of the two.
    assert len(copies) <= 0.03 * len(log[1]["family"])


ELSEWHERE = """
import sys
from pathlib import Path
import orjson
from understudy.data import chunks, prepare
from understudy.data.engine import Engine
from understudy.recipe import Cleaning, Source, Split
chunks.CHUNK_BYTES = 300_000
told = []
made = prepare(source=Source(kind="calls", path=Path(sys.argv[1])), root=Path(sys.argv[2]),
               cleaning=Cleaning(**orjson.loads(sys.argv[3])), split=Split(), method="supervised",
               engine=Engine(name=sys.argv[4], processes=2), progress=told.append)
print(len(told), told[-1], made.id)
"""


@pytest.mark.timeout(400)  # starting Ray takes minutes where others use the cores
@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.prove)])
def test_the_place_of_the_work_changes_nothing(
    planted: Any, log: tuple[Path, Any], inline: Dataset, tmp_path: Path, engine: str
) -> None:
    cleaning = cleaning_of(planted, log[0]).model_dump_json()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ELSEWHERE, log[0], tmp_path, cleaning, engine],
        capture_output=True,
        text=True,
        check=False,
        timeout=380,
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
    )
    pieces, rows, made = done.stdout.split() or (0, 0, done.stderr[-2000:])
    assert made == inline.id
    assert (int(pieces) > 6, int(rows)) == (True, ROWS)
    for name in ("train", "validation", "test", "rejected"):
        one = (tmp_path / made / f"{name}.jsonl").read_bytes()
        assert one == (inline.path / f"{name}.jsonl").read_bytes(), name


def test_a_cluster_that_is_not_there_is_told(
    planted: Any, log: tuple[Path, Any], tmp_path: Path
) -> None:
    nowhere = Engine(name="ray", address="127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1 cannot be reached"):
        built(log[0], cleaning_of(planted, log[0]), tmp_path, nowhere)
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_breaks_off_is_told() -> None:
    lost = type("ActorUnavailableError", (Exception,), {"__module__": "ray.exceptions"})
    with pytest.raises(Unavailable, match=r"broke off \(ActorUnavailableError\)"), engine._told():
        raise lost("the actor is away")
    with pytest.raises(ValueError, match="ours"), engine._told():
        raise ValueError("ours")
