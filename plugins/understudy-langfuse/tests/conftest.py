"""One sandbox for the whole run; each test has its own stretch of calls in its project."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from understudy_sandbox.launch import Sandbox

# Tests are imported by path (importlib mode), which puts no folder on the path for helpers.
sys.path.insert(0, str(Path(__file__).parent))

from langfuse_kit import Landing

_STRETCH = 10_000
_NUMBERS = count()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("langfuse")) as made:
        yield made


@pytest.fixture
def sandbox(running: Sandbox) -> Iterator[Sandbox]:
    yield running
    running.faults()
    running.release()
    running.key(expired=False)


@pytest.fixture
def environment() -> str:
    """An environment that no other test writes to."""
    return f"test-{next(_NUMBERS)}"


@pytest.fixture
def first() -> int:
    """The number of this test's first call; the next 10,000 are its own too."""
    return _STRETCH * (next(_NUMBERS) + 1)


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "landed.jsonl")


@pytest.fixture
def finish() -> Iterator[Callable[[Any], Any]]:
    """Closes at the end whatever it is given, and gives it back."""
    opened: list[Any] = []

    def keep(thing: Any) -> Any:
        opened.append(thing)
        return thing

    yield keep
    for thing in opened:
        thing.close()
