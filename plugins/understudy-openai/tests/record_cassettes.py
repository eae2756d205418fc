"""Record the cassettes again from a sandbox: ``python record_cassettes.py [SCENARIO ...]``.

Each scenario gets a sandbox of its own with a fixed clock, so that what is on the tape tells of
nothing but the scenario.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from openai_cassette_kit import FOLDER, SCENARIOS, backend_at, recorder
from openai_sandbox_kit import QUICK, SECRET, SteppedSandbox


class Patient(SteppedSandbox):
    """Gives the sandbox real time to answer, so that few looks are on the tape."""

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        time.sleep(0.7)


def record(name: str) -> None:
    """Play ``name`` against a sandbox and keep the traffic."""
    tape = FOLDER / f"sandbox-{name}.yaml"
    tape.unlink(missing_ok=True)
    shutdown = "gpt-4o-mini-2024-07-18=30"
    options: dict[str, Any] = {**QUICK, "clock": "2028-01-01T00:00:00Z", "shutdown": shutdown}
    with (
        tempfile.TemporaryDirectory() as folder,
        Patient(api_key=SECRET, **options) as sandbox,
    ):
        backend = backend_at(sandbox.url, SECRET)
        with recorder("all").use_cassette(tape.name):
            SCENARIOS[name](backend, sandbox, Path(folder))
        backend.close()


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for wanted in sys.argv[1:] or SCENARIOS:
        record(wanted)
