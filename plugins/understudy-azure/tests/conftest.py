"""Fixtures; the helpers themselves are in azure_kit.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from understudy.model import JobSpec

# Tests are imported by path (importlib mode), which puts no folder on the path for helpers.
sys.path.insert(0, str(Path(__file__).parents[2] / "understudy-openai" / "tests"))
sys.path.insert(0, str(Path(__file__).parent))

from azure_kit import Manager, Wire, arm_backend, make_backend, managed
from openai_kit import unit_spec


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
    return unit_spec(tmp_path)


# -- a real server -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[Any]:
    pytest.importorskip("understudy_sandbox", reason="needs the sandbox plugin")
    from openai_sandbox_kit import QUICK, SECRET, SteppedSandbox

    with SteppedSandbox(api_key=SECRET, tls=True, deploy_seconds=5, **QUICK) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: Any) -> Iterator[Any]:
    from openai_sandbox_kit import rules_taken_away

    with rules_taken_away(shared_sandbox):
        yield shared_sandbox
    shared_sandbox.finish()


@pytest.fixture
def live(sandbox: Any) -> Iterator[Any]:
    """A backend with a service principal for both planes, over TLS, on v1."""
    from azure_sandbox_kit import backend_of, principal

    made = backend_of(principal(sandbox))
    yield made
    made.close()


@pytest.fixture
def keyed(sandbox: Any) -> Iterator[Any]:
    """A backend with a key, on the classic surface."""
    from azure_sandbox_kit import backend_of, settings_for

    made = backend_of(settings_for(sandbox, surface="classic"))
    yield made
    made.close()
