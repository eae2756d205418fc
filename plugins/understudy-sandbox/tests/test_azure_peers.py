"""The npm package's AzureOpenAI and litellm's ``azure`` provider. `make test` installs both."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from azure_face_kit import ACCOUNTS, ARM_SCOPE
from understudy_sandbox.azure.settings import ACCOUNT

PEERS = Path(__file__).parents[3] / ".peers"
PACKAGES = PEERS / "node" / "node_modules"
PYTHON = PEERS / "litellm" / "bin" / "python"
DRIVERS = Path(__file__).parent / "peers"


@pytest.fixture
def drive(azure, rows, tmp_path):
    sandbox = azure.sandbox
    training, _ = rows(tmp_path)

    def run(*command: str):
        asked = [sandbox.azure_url, sandbox.api_key, str(training), sandbox.token(ARM_SCOPE)]
        done = subprocess.run(
            [*command, *asked, f"{ACCOUNTS}/{ACCOUNT}/deployments"],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            # Else litellm asks the network for its price list at import.
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def check(seen, name: str) -> None:
    assert (seen["done"], seen["cancel"], seen["jobs"]) == ("succeeded", "cancelled", True)
    assert seen["model"].startswith("gpt-4o-mini-2024-07-18.ft-")
    assert seen["model"].endswith(f"-{name}")
    assert (seen["put"], seen["gone"]) == (201, 202)
    assert json.loads(seen["answer"])["intent"] == "track"
    assert seen["streamed"] == seen["answer"]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(not (PACKAGES / "openai").is_dir(), reason="the npm package is not installed")
def test_the_npm_azure_client_drives_it_unchanged(drive) -> None:
    seen = drive("node", str(DRIVERS / "drive_azure.mjs"), str(PACKAGES))
    check(seen, "node")
    assert (seen["file"], seen["created"]) == ("pending", "pending")
    assert (seen["pause"], seen["resume"]) == ("pausing", "resuming")
    assert seen["checkpoint"] == seen["model"]
    assert (seen["filtered"], seen["deleted"]) == (False, 404)


@pytest.mark.skipif(not PYTHON.exists(), reason="litellm is not installed")
def test_litellms_azure_provider_drives_it_unchanged(drive) -> None:
    check(drive(str(PYTHON), str(DRIVERS / "drive_azure_litellm.py")), "litellm")
