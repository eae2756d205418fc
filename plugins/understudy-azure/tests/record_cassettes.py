"""Record the cassettes again from a sandbox: ``python record_cassettes.py [SCENARIO ...]``.

Each scenario gets a sandbox of its own with a fixed clock, so that what is on the tape tells of
nothing but the scenario.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "understudy-openai" / "tests"))
sys.path.insert(0, str(Path(__file__).parent))

from azure_cassette_kit import FOLDER, SCENARIOS, backend_at
from openai_cassette_kit import recorder
from openai_sandbox_kit import QUICK, SECRET, SteppedSandbox


def record(name: str) -> None:
    """Play ``name`` against a sandbox and keep the traffic."""
    tape = FOLDER / f"sandbox-{name}.yaml"
    tape.unlink(missing_ok=True)
    options: dict[str, Any] = {**QUICK, "clock": "2028-01-01T00:00:00Z", "deploy_seconds": 5}
    with (
        tempfile.TemporaryDirectory() as folder,
        SteppedSandbox(api_key=SECRET, **options) as sandbox,
    ):
        os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = sandbox.azure_url
        backend = backend_at(sandbox.azure_url, SECRET, name, live=True)
        with recorder("all", FOLDER).use_cassette(tape.name):
            SCENARIOS[name](backend, sandbox, Path(folder))
        backend.close()


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for wanted in sys.argv[1:] or SCENARIOS:
        record(wanted)
