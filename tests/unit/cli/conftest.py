"""Fixtures of the commands that drive runs; the helpers themselves are in cli_kit.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tests are imported by path (importlib mode), which puts no folder on the path for helpers.
sys.path.insert(0, str(Path(__file__).parent))

from cli_kit import Shop, quick_sandbox

from understudy_sandbox.launch import Sandbox


@pytest.fixture(scope="session")
def quick() -> Iterator[Sandbox]:
    """A sandbox whose jobs are done in half a second."""
    with quick_sandbox(train_seconds=10) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def slow() -> Iterator[Sandbox]:
    """A sandbox whose jobs end only when its clock is pushed on."""
    with quick_sandbox(train_seconds=1_000_000) as sandbox:
        yield sandbox


@pytest.fixture
def shop(
    quick: Sandbox,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Shop:
    """A project of its own that talks to the quick sandbox."""
    return Shop(quick, tmp_path, capsys, monkeypatch)


@pytest.fixture
def slow_shop(
    slow: Sandbox,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Shop:
    """A project of its own that talks to the slow sandbox."""
    return Shop(slow, tmp_path, capsys, monkeypatch)
