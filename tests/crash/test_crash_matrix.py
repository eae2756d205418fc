"""Workers killed at every labelled point, on both stores; the books are checked in books.py."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.engine.points import LABELS

MATRIX = Path(__file__).parent / "matrix.py"
ALL_LABELS = {
    *LABELS,
    "held.files.create",
    "held.fine_tuning.jobs.create",
    "frozen.train.sending-stored",
}


def run_matrix(store: str, *, kills: int, lanes: int, limit: int) -> dict[str, Any]:
    seed = int(os.environ.get("UNDERSTUDY_SEED", random.randrange(10**6)))
    print(f"crash matrix seed {seed}")  # so that a failure can be run again
    asked = ["--store", store, "--kills", str(kills), "--seed", str(seed), "--lanes", str(lanes)]
    done = subprocess.run(
        [sys.executable, str(MATRIX), *asked],
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    assert done.returncode == 0, f"seed {seed}:\n{done.stdout}\n{done.stderr[-6000:]}"
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(figures))
    return figures


def assert_covered(figures: dict[str, Any], kills: int) -> None:
    assert set(figures["by_label"]) == ALL_LABELS
    short = {label: n for label, n in figures["by_label"].items() if n < kills}
    assert not short, f"labels with too few kills: {short}"
    assert figures["remote_jobs"] == figures["jobs"]


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Callable[[], str]:
    if request.param == "sqlite":
        return lambda: "sqlite"
    return request.getfixturevalue("postgres").empty


@pytest.mark.timeout(240)
def test_killed_workers_lose_nothing_and_do_nothing_twice(store: Callable[[], str]) -> None:
    figures = run_matrix(store(), kills=5, lanes=10, limit=230)
    assert_covered(figures, 5)


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_a_thousand_kills(store: Callable[[], str]) -> None:
    figures = run_matrix(store(), kills=20, lanes=10, limit=1700)
    assert_covered(figures, 20)
    assert figures["kills"] >= 500
