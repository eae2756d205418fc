"""Peak memory of local training beside the estimate: SmolLM2-135M, two steps of each setting.

Each run is a process of its own; the peak is that of the process (resident set). Prints one table.
Run: python benchmarks/local_memory.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "plugins" / "understudy-local" / "tests"))

STUDENT = "smollm2-135m"
GIB = 1 << 30
RUNS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("supervised", {"batch_size": 8, "gradient_checkpointing": False}),
    ("supervised", {"batch_size": 8}),
    ("supervised", {"batch_size": 32}),
    ("supervised", {"batch_size": 8, "precision": "float32", "gradient_checkpointing": False}),
    ("supervised", {"batch_size": 8, "lora_rank": 128}),
    ("dpo", {"batch_size": 8}),
    ("bond", {"batch_size": 8}),
)


def trained(method: str, params: dict[str, Any], base: Path, folder: Path) -> dict[str, int]:
    """In a process of its own: two steps; the peak and the longest row."""
    from trainer_kit import fit

    made = fit(folder, base, method, rows=64, max_steps=2, checkpoint_steps=2, **params)
    return {"peak": made.result.metrics["peak_memory_bytes"], "longest": made.rows.longest}


def row(method: str, params: dict[str, Any], base: Path, folder: Path) -> str:
    """One line of the table."""
    from understudy_local.estimate import memory
    from understudy_local.params import LocalParams
    from understudy_local.students import students

    command = [sys.executable, __file__, method, json.dumps(params), str(base), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    told = json.loads(
        subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout.splitlines()[-1]
    )
    shape, longest = students()[STUDENT].shape, told["longest"]
    chosen = LocalParams.model_validate({"precision": "auto"} | params)
    need = memory(shape, chosen, method=method, longest=longest, kind="cpu")
    words = ", ".join(f"{name} {value}" for name, value in params.items())
    peak = told["peak"]
    return (
        f"| {method}, {words} | {longest} | {peak / GIB:.2f} | {need.total / GIB:.2f} "
        f"| {need.total / peak:.2f} |"
    )


def main() -> None:
    """Print the table."""
    from understudy_local.artifacts import Home
    from understudy_local.students import locate
    from understudy_local.trainers.bases import prepare_base

    print("| run | longest row, tokens | peak GiB | estimate GiB | estimate / peak |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as place:
        base = prepare_base(locate(STUDENT), Home(Path(place)), token=None, offline=True)
        for number, (method, params) in enumerate(RUNS):
            print(row(method, params, base, Path(place) / str(number)), flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        _method, _params, _base, _folder = sys.argv[1:]
        _options = {"precision": "auto"} | json.loads(_params)
        print(json.dumps(trained(_method, _options, Path(_base), Path(_folder))))
