"""Runs a peer: an independent client in a process, or a virtual environment, of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

_PEERS = Path(__file__).parents[3] / ".peers"
_DRIVERS = Path(__file__).parent / "peers"
PACKAGES = _PEERS / "node" / "node_modules"
PYTHON = _PEERS / "litellm" / "bin" / "python"


def needs_node(test: Any) -> Any:
    """Skip where the npm package is not installed."""
    there = shutil.which("node") is not None and (PACKAGES / "openai").is_dir()
    return pytest.mark.skipif(not there, reason="node or its openai package is missing")(test)


needs_litellm = pytest.mark.skipif(not PYTHON.exists(), reason="litellm is not installed")


def _drive(*command: str) -> dict[str, Any]:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        # Else litellm asks the network for its price list at import.
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def drive_node(driver: str, *args: str) -> dict[str, Any]:
    """What a driver in JavaScript saw."""
    return _drive("node", str(_DRIVERS / driver), str(PACKAGES), *args)


def drive_litellm(driver: str, *args: str) -> dict[str, Any]:
    """What a driver in Python saw, run where litellm is."""
    return _drive(str(PYTHON), str(_DRIVERS / driver), *args)
