"""examples/azure, as its README says: run by the command line against the sandbox."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("understudy_sandbox", reason="needs the sandbox plugin")

from understudy_azure.settings import AzureSettings
from understudy_sandbox.azure import settings as azure
from understudy_sandbox.launch import Sandbox

EXAMPLE = Path(__file__).parents[3] / "examples" / "azure"
_QUICK = "[worker]\npoll_seconds = 0.2\npoll_max_seconds = 1\n"


def understudy(folder: Path, env: dict[str, str], *words: str) -> str:
    """Output of the command; it must go well."""
    done = subprocess.run(
        [sys.executable, "-m", "understudy.cli", *words],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_settings_are_valid_and_every_comment_names_one() -> None:
    text = (EXAMPLE / "understudy.toml").read_text(encoding="utf-8")
    given = tomllib.loads(text)["backends"]["azure"]
    assert AzureSettings(endpoint="https://unit.openai.azure.com", **given).surface == "v1"
    named = set(re.findall(r"^#? ?([a-z_]+) = ", text, re.MULTILINE))
    assert named <= set(AzureSettings.model_fields)


def test_the_bicep_assigns_what_the_readme_says() -> None:
    text = (EXAMPLE / "main.bicep").read_text(encoding="utf-8")
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    roles = re.findall(r"^// (Cognitive Services [A-Za-z ]+?)[:,]", text, re.MULTILINE)
    assert len(roles) == text.count("Microsoft.Authorization/roleAssignments@") == 3
    assert all(role in readme for role in roles)


def test_the_recipe_runs_from_tickets_to_alias_with_a_token(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "azure"))
    settings = folder / "understudy.toml"
    settings.write_text(_QUICK + settings.read_text(encoding="utf-8"), encoding="utf-8")
    anchor = f"{time.time():.6f}"
    options: dict[str, Any] = {"tls": True, "train_seconds": 60, "azure_account": "unit=eastus2"}
    with Sandbox(clock="2028-01-01", clock_speed=120, clock_anchor=anchor, **options) as sandbox:
        env = {
            "UNDERSTUDY_CLOCK": f"2028-01-01,120,{anchor}",
            "AZURE_OPENAI_ENDPOINT": sandbox.tls_url,
            "UNDERSTUDY_AZURE_ACCOUNT": "unit",
            "UNDERSTUDY_AZURE_ARM_ENDPOINT": sandbox.tls_url,
            "UNDERSTUDY_AZURE_CA_FILE": str(sandbox.ca_file),
            "AZURE_AUTHORITY_HOST": sandbox.tls_url,
            "AZURE_SUBSCRIPTION_ID": azure.SUBSCRIPTION,
            "AZURE_RESOURCE_GROUP": azure.RESOURCE_GROUP,
            "AZURE_TENANT_ID": azure.TENANT,
            "AZURE_CLIENT_ID": azure.CLIENT_ID,
            "AZURE_CLIENT_SECRET": azure.CLIENT_SECRET,
        }
        assert "DeveloperTier" in understudy(folder, env, "estimate", "recipe.toml")
        report = understudy(folder, env, "run", "recipe.toml")
        assert sandbox.state()["deployments"] == []
        (bill,) = [e for e in sandbox.bill()["entries"] if e["kind"] == "training"]
    assert f"({bill['trained_tokens']} tokens)" in report
    assert "served by understudy-sandbox" in report
    assert "points at ticket-triage@1" in report
    kept = [path for path in (folder / ".understudy").rglob("*") if path.is_file()]
    assert kept
    assert not any(azure.CLIENT_SECRET.encode() in path.read_bytes() for path in kept)
