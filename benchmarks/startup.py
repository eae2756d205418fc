"""How long `import understudy` and `understudy --help` take, and that they stay light.

Reach: import <= 50 ms over `python -c pass`; --help <= 300 ms. Each is the median of fifteen
interleaved runs in fresh processes.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 15
HEAVY = ("openai", "sqlalchemy", "alembic", "scipy", "numpy", "torch", "starlette", "sklearn")
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import understudy": ["-c", "import understudy"],
    "understudy --help": ["-m", "understudy.cli", "--help"],
}


def seconds(arguments: list[str]) -> float:
    """Wall time of one fresh interpreter."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def heavy_modules(arguments: list[str]) -> list[str]:
    """Which heavy modules a run imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], check=True, capture_output=True, text=True
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    return [name for name in HEAVY if name in loaded]


def main() -> None:
    """Print one table."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    floor = statistics.median(times["python -c pass"])
    print("| what | median ms | least ms | over `pass` ms | heavy modules |")
    print("| --- | --- | --- | --- | --- |")
    for name, arguments in COMMANDS.items():
        median, least = statistics.median(times[name]), min(times[name])
        heavy = ", ".join(heavy_modules(arguments)) or "none"
        over = (median - floor) * 1000
        print(f"| {name} | {median * 1000:.0f} | {least * 1000:.0f} | {over:.0f} | {heavy} |")


if __name__ == "__main__":
    main()
