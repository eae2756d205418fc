from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.batch.inputs import read_blocks
from understudy.batch.planning import Planned, Scope, cut, spill
from understudy.batch.questions import Questions
from understudy.batch.recipe import Ask, Input
from understudy.engine.batch_files import head, read_rows

ASK = Ask(model="m", prompt="{{ q }}")
QUESTIONS = Questions(ask=ASK, model="m", version="x:m")


def made(folder: Path, lines: list[bytes], scope: Scope, **options: Any) -> Planned:
    folder.mkdir()
    (folder / "in.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    arguments = {
        "questions": QUESTIONS,
        "file": "in.jsonl",
        "reference": "right" if options.get("references") else None,
        "max_tokens": scope.tokens or 10**9,
        "max_bytes": scope.bytes - scope.constant,
    }
    processes = options.pop("processes", 1)
    blocks = read_blocks(Input(path=str(folder / "in.jsonl")))
    spilled = spill(blocks, folder / "plan", arguments=arguments, processes=processes)
    return cut(folder / "plan", spilled, scope, **options)


def keys_of(folder: Path, planned: Planned) -> list[list[str]]:
    return [
        [head(line)[0] for line in read_rows(folder / "plan" / f"{shard.number:05}.rows")]
        for shard in planned.shards
    ]


_LINES = st.lists(
    st.one_of(
        st.text(max_size=8).map(lambda text: orjson.dumps({"q": text})),
        st.integers(0, 9).map(lambda number: orjson.dumps({"q": number})),
        st.sampled_from([b"{broken", b"[]", b"{}", b'{"q": null}', b"\xff"]),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(_LINES, st.integers(1, 9), st.integers(30, 60), st.randoms(use_true_random=False))
def test_every_row_is_accounted_for_within_the_limits(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    requests: int,
    tokens: int,
    shuffler: random.Random,
) -> None:
    folder = tmp_path_factory.mktemp("plan")
    scope = Scope(requests=requests, bytes=2_000, tokens=tokens, constant=100)
    planned = made(folder / "a", lines, scope)
    rows = [line for line in lines if line.strip()]
    assert planned.rows == len(rows)
    assert planned.rows == planned.rejected + planned.duplicates + planned.known + planned.asked
    rejects = (folder / "a/plan/rejects.jsonl").read_bytes().splitlines()
    assert len(rejects) == planned.rejected
    shards = keys_of(folder / "a", planned)
    flat = [key for shard in shards for key in shard]
    assert flat == sorted(set(flat))
    assert len(flat) == planned.asked
    for shard, found in zip(planned.shards, shards, strict=True):
        assert shard.requests == len(found) <= requests
        assert shard.tokens <= tokens
        assert shard.bytes <= 2_000
    # The order of the input changes nothing.
    shuffled = list(lines)
    shuffler.shuffle(shuffled)
    again = made(folder / "b", shuffled, scope)
    assert (again.shards, keys_of(folder / "b", again)) == (planned.shards, shards)


def test_two_processes_plan_what_one_plans(tmp_path: Path) -> None:
    lines = [orjson.dumps({"q": f"question {n % 700}"}) for n in range(1000)] + [b"{broken"]
    scope = Scope(requests=100, bytes=10**6, tokens=None, constant=100)
    one = made(tmp_path / "one", lines, scope)
    two = made(tmp_path / "two", lines, scope, processes=2)
    assert two == one
    assert keys_of(tmp_path / "two", two) == keys_of(tmp_path / "one", one)
    assert (one.asked, one.duplicates, one.rejected) == (700, 300, 1)


def test_known_keys_are_noted_and_left_out(tmp_path: Path) -> None:
    lines = [orjson.dumps({"q": str(n)}) for n in range(100)]
    scope = Scope(requests=1000, bytes=10**6, tokens=None, constant=100)
    seen: list[bytes] = []

    def known(keys: Any) -> set[bytes]:
        assert list(keys) == sorted(keys)
        seen.extend(keys)
        return {key for key in keys if key[1] < 128}

    planned = made(tmp_path / "p", lines, scope, known=known)
    carried = (tmp_path / "p/plan/carried.keys").read_bytes()
    assert len(seen) == 100
    assert planned.known == len(carried) // 32 == sum(key[1] < 128 for key in seen)
    assert planned.asked == 100 - planned.known


def test_references_are_kept_beside_their_keys(tmp_path: Path) -> None:
    lines = [orjson.dumps({"q": str(n), "right": {"n": n} if n % 2 else None}) for n in range(10)]
    scope = Scope(requests=1000, bytes=10**6, tokens=None, constant=100)
    planned = made(tmp_path / "p", [*lines, *lines], scope, references=True)
    assert (planned.asked, planned.duplicates) == (10, 10)
    noted = (tmp_path / "p/plan/references").read_bytes().splitlines()
    assert sorted(orjson.loads(line[64:]) for line in noted) == [
        f'{{"n":{n}}}' for n in (1, 3, 5, 7, 9)
    ]
    assert noted == sorted(noted)


def test_the_sample_is_even_seeded_and_no_larger_than_asked(tmp_path: Path) -> None:
    lines = [orjson.dumps({"q": str(n)}) for n in range(300)]
    scope = Scope(requests=1000, bytes=10**6, tokens=None, constant=100)
    picked = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        made(tmp_path / name, lines, scope, sample=20, seed=seed)
        picked.append(list(read_rows(tmp_path / name / "plan/sample.rows")))
    assert len(set(picked[0])) == 20
    assert picked[0] == picked[1] != picked[2]


def test_a_request_beyond_the_limits_is_rejected_with_its_line(tmp_path: Path) -> None:
    lines = [b'{"q": "short"}', orjson.dumps({"q": "long " * 50})]
    scope = Scope(requests=10, bytes=10**6, tokens=40, constant=100)
    planned = made(tmp_path / "p", lines, scope)
    (told,) = map(orjson.loads, (tmp_path / "p/plan/rejects.jsonl").read_bytes().splitlines())
    assert (told["line"], planned.asked) == (2, 1)
    assert "one may have 40" in told["reason"]
