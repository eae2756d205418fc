"""litellm against the sandbox, from a venv of its own. `make test` makes it."""

from __future__ import annotations

import json

from peer_run import drive_litellm, needs_litellm


@needs_litellm
def test_litellm_drives_it_unchanged(tmp_path, sandbox, rows) -> None:
    training, batch = rows(tmp_path)
    seen = drive_litellm("drive_litellm.py", sandbox.url, sandbox.api_key, str(training), batch)
    assert seen["file"] == "fine-tune"
    assert (seen["pause"], seen["paused"], seen["resume"]) == ("pausing", "paused", "running")
    assert (seen["done"], seen["cancel"], seen["batch"]) == ("succeeded", "cancelled", "completed")
    assert seen["pages"] == [True, True]
    assert len(seen["losses"]) > 5
    assert seen["checkpoints"][0] == seen["model"]
    assert json.loads(seen["answer"])["intent"] == "track"
    assert (seen["results"], seen["deleted"]) == (5, True)
    assert seen["batches"] >= 1
