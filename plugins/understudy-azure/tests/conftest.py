"""Fixtures; the helpers themselves are in azure_kit.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from understudy.model import JobSpec

# Tests are imported by path (importlib mode), which puts no folder on the path for helpers.
HERE = Path(__file__).parent
# Those of the plugin that this one builds on are used as they are.
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "understudy-openai" / "tests")]

from azure_kit import MODEL, Manager, Wire, arm_backend, make_backend, managed, rows_of


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def backend(wire: Wire) -> Iterator[Any]:
    made = make_backend(wire)
    yield made
    made.close()


@pytest.fixture(scope="session")
def arm_server() -> Iterator[Manager]:
    with managed() as server:
        yield server


@pytest.fixture
def manager(arm_server: Manager) -> Manager:
    arm_server.script.clear()
    arm_server.seen.clear()
    return arm_server


@pytest.fixture
def deployer(manager: Manager) -> Iterator[Any]:
    made = arm_backend(manager)
    yield made
    made.close()


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    return JobSpec(
        base_model=MODEL,
        method="supervised",
        training=rows_of(tmp_path / "train.jsonl"),
        hyperparameters={"n_epochs": 2},
        suffix="unit",
        seed=7,
        metadata={"team": "search"},
    )
