"""Fixtures; the helpers themselves are in openai_kit.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from understudy.model import JobSpec

# Tests are imported by path (importlib mode), which puts no folder on the path for helpers.
sys.path.insert(0, str(Path(__file__).parent))

from openai_kit import Wire, make_backend, unit_spec


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def backend(wire: Wire) -> Iterator[Any]:
    made = make_backend(wire)
    yield made
    made.close()


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    return unit_spec(tmp_path)
