"""The npm package's AzureOpenAI and litellm's ``azure`` provider. `make test` installs both."""

from __future__ import annotations

import json

import pytest

from azure_face_kit import ACCOUNTS, ARM_SCOPE
from peer_run import drive_litellm, drive_node, needs_litellm, needs_node
from understudy_sandbox.azure.settings import ACCOUNT


@pytest.fixture
def told(azure, rows, tmp_path) -> list[str]:
    """What a driver must know."""
    sandbox = azure.sandbox
    asked = [sandbox.azure_url, sandbox.api_key, str(rows(tmp_path)[0]), sandbox.token(ARM_SCOPE)]
    return [*asked, f"{ACCOUNTS}/{ACCOUNT}/deployments"]


def check(seen, name: str) -> None:
    assert (seen["done"], seen["cancel"], seen["jobs"]) == ("succeeded", "cancelled", True)
    assert seen["model"].startswith("gpt-4o-mini-2024-07-18.ft-")
    assert seen["model"].endswith(f"-{name}")
    assert (seen["put"], seen["gone"]) == (201, 202)
    assert json.loads(seen["answer"])["intent"] == "track"
    assert seen["streamed"] == seen["answer"]


@needs_node
def test_the_npm_azure_client_drives_it_unchanged(told) -> None:
    seen = drive_node("drive_azure.mjs", *told)
    check(seen, "node")
    assert (seen["file"], seen["created"]) == ("pending", "pending")
    assert (seen["pause"], seen["resume"]) == ("pausing", "resuming")
    assert seen["checkpoint"] == seen["model"]
    assert (seen["filtered"], seen["deleted"]) == (False, 404)


@needs_litellm
def test_litellms_azure_provider_drives_it_unchanged(told) -> None:
    check(drive_litellm("drive_azure_litellm.py", *told), "litellm")
