"""The acceptance figures at full size, written to RESULTS.md with date and machine.

`make prove` runs it: every benchmark, then every test marked `prove`.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from run import ROOT, SCRIPTS, output_of

RESULTS = Path(__file__).parent / "RESULTS.md"
LARGE = {
    "The cache at 10,000,000 keys": ["benchmarks/cache.py", "size", "10000000"],
    "Export of SmolLM2-135M beside the plain tools": ["benchmarks/local_export.py"],
    "The data pipeline, ten times the rows": ["benchmarks/data.py", "--grown", "10"],
}
"""What takes minutes and gigabytes, and so is no part of `make bench`."""


def machine() -> str:
    """Cores, memory and versions, without a name or a path."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        f"{os.cpu_count()} cores, {pages:.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}"
    )


def proofs() -> tuple[str, int]:
    """The output of the tests marked `prove`, and their exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "prove", "-s", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    kept = [line for line in done.stdout.splitlines() if not re.search(r"/\w+/\w+/", line)]
    return "\n".join(kept), done.returncode


def main() -> int:
    """Write RESULTS.md; the tests' exit code."""
    said = (
        f"Written by `make prove` on {datetime.now(UTC):%Y-%m-%d} on a machine with {machine()}. "
        "Everything was run against the sandbox on loopback; no figure here is a provider's."
    )
    sections = ["# Results", said]
    for title, arguments in (SCRIPTS | LARGE).items():
        sections += [f"## {title}", output_of(arguments)]
    text, code = proofs()
    sections += ["## Tests marked `prove`", f"```\n{text}\n```"]
    RESULTS.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))
    return code


if __name__ == "__main__":
    sys.exit(main())
