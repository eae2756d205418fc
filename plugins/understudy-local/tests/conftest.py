"""Fixtures; the helpers themselves are in local_kit.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tests are imported by path (importlib mode), which puts no folder on the path for helpers.
sys.path.insert(0, str(Path(__file__).parent))

from local_kit import make_backend, make_tiny
from understudy.errors import NotFound
from understudy_local import processes
from understudy_local.artifacts import JobFolder, read_json
from understudy_local.backend import LocalBackend
from understudy_local.students import locate


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of a few thousand weights, the same in every session."""
    pytest.importorskip("trl", reason="needs understudy-local[train]")
    return make_tiny(tmp_path_factory.mktemp("student") / "tiny-random")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for a backend; whatever still runs for it at the end is ended."""
    place = tmp_path / "home"
    yield place
    for path in place.glob("jobs/*"):
        folder = JobFolder(path)
        for record in (folder.worker, folder.spawned):
            leader = processes.parse(read_json(record))
            if leader is not None:
                processes.signal_group(leader, processes.signal.SIGKILL)


@pytest.fixture
def backend(home: Path) -> LocalBackend:
    return make_backend(home)


@pytest.fixture(scope="session")
def smollm_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this session know: SmolLM2 is trained there once."""
    pytest.importorskip("trl", reason="needs understudy-local[train]")
    try:
        locate("smollm2-135m")
    except NotFound as error:
        pytest.skip(str(error))
    base = tmp_path_factory.getbasetemp()
    # With pytest-xdist each process has a folder in the session's.
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "smollm"
