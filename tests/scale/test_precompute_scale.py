"""Precompute under kill -9: every request answered exactly once, no batch submitted twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from precompute_fleet import Kitchen

_TOKENS = 15
"""Prompt tokens of one row, at most."""


@pytest.fixture
def kitchen(tmp_path: Path) -> Iterator[Callable[..., Kitchen]]:
    made: list[Kitchen] = []

    def make(**options: Any) -> Kitchen:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Kitchen(folder, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
        # Gigabytes at full size.
        shutil.rmtree(one.folder, ignore_errors=True)


def test_twenty_thousand_rows_and_three_kills(kitchen: Callable[..., Kitchen]) -> None:
    cook = kitchen(rows=20_000, requests=1_000, enqueued=4 * 1_000 * _TOKENS, speed=30, lease=100)
    figures = cook.run(kills=3, between=(1.5, 3.0))
    assert figures.kills == 3
    assert figures.batches >= 20
    assert 1 < figures.most_at_once <= 6
    cook.check(figures)


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_two_million_rows_and_twenty_kills(
    kitchen: Callable[..., Kitchen], capsys: pytest.CaptureFixture[str]
) -> None:
    small = kitchen(rows=200_000, requests=50_000, enqueued=4 * 50_000 * _TOKENS, speed=10)
    few = small.run(between=(0, 0))
    small.check(few)
    cook = kitchen(rows=2_000_000, requests=50_000, enqueued=4 * 50_000 * _TOKENS, speed=10)
    figures = cook.run(kills=20, between=(2.0, 12.0))
    with capsys.disabled():
        print(f"\n200,000 rows, no kill\n{few.table()}\n\n2,000,000 rows\n{figures.table()}")
    assert figures.kills == 20
    assert figures.batches >= 40
    assert 1 < figures.most_at_once <= 6
    cook.check(figures)
    assert max(figures.worker_mb, figures.plan_mb) <= 250
    assert figures.worker_mb <= few.worker_mb * 1.25


@pytest.mark.prove
@pytest.mark.timeout(7200)
def test_ten_million_rows_in_two_hundred_batches(
    kitchen: Callable[..., Kitchen], capsys: pytest.CaptureFixture[str]
) -> None:
    cook = kitchen(rows=10_000_000, requests=50_000, enqueued=20 * 50_000 * _TOKENS, speed=10)
    figures = cook.run(between=(0, 0))
    with capsys.disabled():
        print(f"\n10,000,000 rows\n{figures.table()}")
    assert figures.batches == 200
    cook.check(figures)
    assert max(figures.worker_mb, figures.plan_mb) <= 400


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_a_plan_of_twenty_million_rows(
    kitchen: Callable[..., Kitchen], capsys: pytest.CaptureFixture[str]
) -> None:
    rows, repeated = 20_000_000, 4_000_000
    cook = kitchen(rows=rows, requests=50_000, enqueued=10**9, speed=1, repeated=repeated)
    seconds, memory, plan = cook.plan("--dry-run")
    with capsys.disabled():
        print(f"\n{rows:,} rows planned in {seconds:.0f} s ({rows / seconds:,.0f} a second)")
        print(f"{plan['duplicates']:,} of them duplicates; peak memory {memory:.0f} MB")
    assert (plan["duplicates"], plan["asked"]) == (repeated, rows - repeated)
    assert plan["estimate"]["batches"] == 320
    assert memory <= 400
