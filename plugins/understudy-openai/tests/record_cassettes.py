"""Record the cassettes again from a sandbox: ``python record_cassettes.py [SCENARIO ...]``.

Each scenario gets a sandbox of its own with a fixed clock, so that what is on the tape tells of
nothing but the scenario.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from openai_cassette_kit import FOLDER, SCENARIOS, backend_at, record
from openai_sandbox_kit import QUICK, SECRET, SteppedSandbox


class Patient(SteppedSandbox):
    """Gives the sandbox real time to answer, so that few looks are on the tape."""

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        time.sleep(0.7)


OPTIONS: dict[str, Any] = {
    **QUICK,
    "clock": "2028-01-01T00:00:00Z",
    "shutdown": "gpt-4o-mini-2024-07-18=30",
}

if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for wanted in sys.argv[1:] or SCENARIOS:
        record(
            FOLDER / f"sandbox-{wanted}.yaml",
            SCENARIOS[wanted],
            lambda sandbox: backend_at(sandbox.url, SECRET),
            Patient(api_key=SECRET, **OPTIONS),
        )
