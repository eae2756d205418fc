"""Every benchmark, one after the other; each prints one table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPTS = {
    "Start-up": ["benchmarks/startup.py"],
    "Validation and token counts, 100,000 rows": ["benchmarks/validation_speed.py"],
    "The data pipeline, 100,000 planted conversations": [
        "benchmarks/data.py",
        "--beside",
        "--ray",
    ],
    "Polling 10,000 live jobs for a simulated hour": ["benchmarks/polling.py"],
    "The cache: filling, publishing, reading, switching; its stores": ["benchmarks/cache.py"],
    "Precompute: planning, ingest, publication": ["benchmarks/precompute.py"],
    "Local training beside plain TRL": ["benchmarks/local_throughput.py"],
    "Peak memory of local training": ["benchmarks/local_memory.py"],
    "The sandbox's learner on clinc150": [
        "plugins/understudy-sandbox/benchmarks/learner_clinc150.py"
    ],
    "The sandbox's learner on the demo's task": [
        "plugins/understudy-sandbox/benchmarks/learner_demo.py"
    ],
}


def output_of(arguments: list[str]) -> str:
    """What a script prints; its failure is part of it."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    failed = f"\n(exit {done.returncode}) {done.stderr[-2000:]}" if done.returncode else ""
    return done.stdout.strip() + failed


def main() -> None:
    """Print all tables."""
    for title, arguments in SCRIPTS.items():
        print(f"\n## {title}\n\n{output_of(arguments)}", flush=True)


if __name__ == "__main__":
    main()
