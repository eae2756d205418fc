"""Record the cassettes again from a sandbox: ``python record_cassettes.py [SCENARIO ...]``.

Each scenario gets a sandbox of its own with a fixed clock, so that what is on the tape tells of
nothing but the scenario.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "understudy-openai" / "tests"))
sys.path.insert(0, str(Path(__file__).parent))

from azure_cassette_kit import FOLDER, SCENARIOS, backend_at
from openai_cassette_kit import record
from openai_sandbox_kit import QUICK, SECRET, SteppedSandbox
from understudy_azure.backend import AzureBackend

OPTIONS: dict[str, Any] = {**QUICK, "clock": "2028-01-01T00:00:00Z", "deploy_seconds": 5}


def backend_for(name: str, sandbox: SteppedSandbox) -> AzureBackend:
    """The backend of a scenario, with the identity of this machine."""
    os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = sandbox.azure_url
    return backend_at(sandbox.azure_url, SECRET, name, live=True)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for wanted in sys.argv[1:] or SCENARIOS:
        record(
            FOLDER / f"sandbox-{wanted}.yaml",
            SCENARIOS[wanted],
            partial(backend_for, wanted),
            SteppedSandbox(api_key=SECRET, **OPTIONS),
        )
