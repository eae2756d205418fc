"""The npm `openai` package against the sandbox. `make test` installs it."""

from __future__ import annotations

import json

from peer_run import drive_node, needs_node


@needs_node
def test_the_npm_package_drives_it_unchanged(tmp_path, sandbox, rows) -> None:
    training, batch = rows(tmp_path)
    seen = drive_node("drive.mjs", sandbox.url, sandbox.api_key, str(training), batch)
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
