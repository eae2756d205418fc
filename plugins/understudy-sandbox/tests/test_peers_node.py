"""The npm `openai` package against the sandbox. `make peers` installs it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ROOT / ".peers" / "node" / "node_modules"
DRIVER = Path(__file__).parent / "peers" / "drive.mjs"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(not (PACKAGES / "openai").is_dir(), reason="run `make peers` first")
def test_the_npm_package_drives_it_unchanged(tmp_path, sandbox, rows) -> None:
    training, batch = rows(tmp_path)
    done = subprocess.run(
        ["node", str(DRIVER), str(PACKAGES), sandbox.url, sandbox.api_key, str(training), batch],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["file"] == "fine-tune"
    assert (seen["pause"], seen["paused"], seen["resume"]) == ("pausing", "paused", "running")
    assert (seen["done"], seen["cancel"], seen["batch"]) == ("succeeded", "cancelled", "completed")
    assert seen["jobs"] == 3
    assert len(seen["losses"]) > 5
    assert seen["checkpoints"][0] == seen["model"]
    assert len(seen["checkpoints"]) == 3
    assert json.loads(seen["answer"])["intent"] == "track"
    assert seen["streamed"] == seen["answer"]
    assert (seen["results"], seen["deleted"]) == (5, True)
    assert seen["batches"] >= 1
