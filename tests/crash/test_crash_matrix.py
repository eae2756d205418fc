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

sys.path.insert(0, str(Path(__file__).parent))

from crash_providers import PROVIDERS

FOLDER = Path(__file__).parent
ON_BOTH = pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)


def run_script(name: str, *asked: str, limit: int) -> dict[str, Any]:
    """The figures that a script of this folder prints, with a seed of its own."""
    seed = os.environ.get("UNDERSTUDY_SEED", str(random.randrange(10**6)))
    print(f"{name} seed {seed}")  # so that a failure can be run again
    done = subprocess.run(
        [sys.executable, str(FOLDER / name), *asked, "--seed", seed],
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    assert done.returncode == 0, f"seed {seed}:\n{done.stdout}\n{done.stderr[-6000:]}"
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(figures))
    return figures


def run_matrix(provider: str, store: str, *, kills: int, lanes: int, limit: int) -> dict[str, Any]:
    """The matrix's figures; every label has had its kills."""
    asked = ["--provider", provider, "--store", store, "--kills", str(kills), "--lanes", str(lanes)]
    figures = run_script("matrix.py", *asked, limit=limit)
    assert set(figures["by_label"]) == set(PROVIDERS[provider].all_labels)
    short = {label: n for label, n in figures["by_label"].items() if n < kills}
    assert not short, f"labels with too few kills: {short}"
    assert figures["remote_jobs"] == figures["jobs"]
    return figures


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Callable[[], str]:
    if request.param == "sqlite":
        return lambda: "sqlite"
    empty: Callable[[], str] = request.getfixturevalue("postgres").empty
    return empty


@ON_BOTH
@pytest.mark.timeout(240)
def test_killed_workers_lose_nothing_and_do_nothing_twice(store: Callable[[], str]) -> None:
    run_matrix("openai", store(), kills=5, lanes=10, limit=230)


@pytest.mark.timeout(240)
def test_killed_workers_leave_no_deployment_and_make_none_twice() -> None:
    figures = run_matrix("azure", "sqlite", kills=2, lanes=8, limit=230)
    assert figures["deployments_made"] >= figures["jobs"]


@pytest.mark.prove
@ON_BOTH
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.timeout(1800)
def test_twenty_kills_at_every_point(provider: str, store: Callable[[], str]) -> None:
    figures = run_matrix(provider, store(), kills=20, lanes=8, limit=1700)
    assert figures["kills"] >= 500


@pytest.mark.parametrize("end", ["carried on", "abandoned"])
@pytest.mark.parametrize(
    "kills", [10, pytest.param(50, marks=[pytest.mark.prove, pytest.mark.timeout(900)])]
)
@pytest.mark.timeout(240)
def test_killed_anywhere_nothing_stays_that_is_billed(kills: int, end: str) -> None:
    abandon = ["--abandon"] if end == "abandoned" else []
    asked = ["--provider", "azure", "--lanes", "6", "--kills", str(kills), *abandon]
    figures = run_script("random_kills.py", *asked, limit=850)
    assert figures["kills"] >= kills
    if abandon:
        assert figures["left"] >= 2, "nothing was left, so nothing was shown"
