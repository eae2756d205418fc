"""The commands' fixtures, for the README's own code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tests are imported by path (importlib mode), which puts no folder on the path for helpers.
sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "cli"))

from cli_kit import Shop, quick_sandbox


@pytest.fixture
def shop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shop]:
    """A project that talks to a quick sandbox of its own."""
    with quick_sandbox(train_seconds=10) as sandbox:
        yield Shop(sandbox, tmp_path, capsys, monkeypatch)
