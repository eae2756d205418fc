"""litellm against the sandbox, from a venv of its own. `make peers` makes it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".peers" / "litellm" / "bin" / "python"
DRIVER = Path(__file__).parent / "peers" / "drive_litellm.py"


@pytest.mark.skipif(not PYTHON.exists(), reason="run `make peers` first")
def test_litellm_drives_it_unchanged(tmp_path, sandbox, rows) -> None:
    training, batch = rows(tmp_path)
    done = subprocess.run(
        [str(PYTHON), str(DRIVER), sandbox.url, sandbox.api_key, str(training), batch],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        # Else it asks the network for its price list at import.
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["file"] == "fine-tune"
    assert (seen["pause"], seen["paused"], seen["resume"]) == ("pausing", "paused", "running")
    assert (seen["done"], seen["cancel"], seen["batch"]) == ("succeeded", "cancelled", "completed")
    assert seen["pages"] == [True, True]
    assert len(seen["losses"]) > 5
    assert seen["checkpoints"][0] == seen["model"]
    assert json.loads(seen["answer"])["intent"] == "track"
    assert (seen["results"], seen["deleted"]) == (5, True)
    assert seen["batches"] >= 1
