"""examples/azure, as its README says: run by the command line against the sandbox."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("understudy_sandbox", reason="needs the sandbox plugin")

from understudy.cli.app import run
from understudy_azure.settings import AzureSettings
from understudy_sandbox.azure import settings as azure
from understudy_sandbox.launch import Sandbox

EXAMPLE = Path(__file__).parents[3] / "examples" / "azure"
_QUICK = "[worker]\npoll_seconds = 0.2\npoll_max_seconds = 1\n"


SPEED = 120
"""The four hours of the recipe's deployment last two minutes, so that a busy machine can follow."""


@pytest.fixture(scope="module")
def house() -> Iterator[tuple[Sandbox, str]]:
    """A sandbox with TLS, and the clock that a client shares with it. It fits equal rows once."""
    anchor = f"{time.time():.6f}"
    options: dict[str, Any] = {"tls": True, "train_seconds": 60, "azure_account": "unit=eastus2"}
    options["token_seconds"] = 3600 * SPEED  # an hour of the client's clock, which is the real one
    with Sandbox(clock="2028-01-01", clock_speed=SPEED, clock_anchor=anchor, **options) as sandbox:
        yield sandbox, f"2028-01-01,{SPEED},{anchor}"


@dataclass(frozen=True)
class Console:
    """The example's folder, copied, and the command in it."""

    folder: Path
    env: dict[str, str]
    capsys: pytest.CaptureFixture[str]

    def call(self, *words: str) -> str:
        """Output of the command in this process; it must go well."""
        self.capsys.readouterr()
        code = run(words)
        told = self.capsys.readouterr()
        assert code == 0, f"{told.out}\n{told.err}"
        return told.out

    def spawn(self, *words: str) -> str:
        """Output of the command in a process of its own; it must go well."""
        done = subprocess.run(
            [sys.executable, "-m", "understudy.cli", *words],
            cwd=self.folder,
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def console(
    house: tuple[Sandbox, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Console:
    sandbox, clock = house
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "azure"))
    env = {
        "UNDERSTUDY_CLOCK": clock,
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
    monkeypatch.chdir(folder)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return Console(folder, env, capsys)


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


@pytest.mark.parametrize("surface", ["v1", "classic"])
@pytest.mark.parametrize("auth", ["token", "key"])
def test_the_recipe_runs_from_tickets_to_alias(
    console: Console,
    house: tuple[Sandbox, str],
    monkeypatch: pytest.MonkeyPatch,
    surface: str,
    auth: str,
) -> None:
    sandbox, _ = house
    settings = console.folder / "understudy.toml"
    text = settings.read_text(encoding="utf-8")
    assert text.count('surface = "v1"') == 1
    chosen = text.replace('surface = "v1"', f'surface = "{surface}"')
    settings.write_text(_QUICK + chosen, encoding="utf-8")
    if auth == "key":
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", sandbox.api_key)
    paid = _training(sandbox)
    # Once as a person runs it; the other ways in this process, which imports everything once.
    command = console.spawn if (surface, auth) == ("v1", "token") else console.call
    assert "DeveloperTier" in command("estimate", "recipe.toml")
    report = command("run", "recipe.toml")
    assert sandbox.state()["deployments"] == []
    (bill,) = _training(sandbox)[len(paid) :]
    assert f"({bill['trained_tokens']} tokens)" in report
    assert "served by understudy-sandbox" in report
    assert "points at ticket-triage@1" in report
    kept = [path for path in (console.folder / ".understudy").rglob("*") if path.is_file()]
    assert kept
    secrets = (azure.CLIENT_SECRET.encode(), sandbox.api_key.encode())
    assert not any(secret in path.read_bytes() for path in kept for secret in secrets)


def _training(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [entry for entry in sandbox.bill()["entries"] if entry["kind"] == "training"]
