"""Export time beside the plain tools: what proving and bookkeeping cost on top of converting.

Both sides start from the same trained adapter of SmolLM2-135M and make f16, q8_0 and q4_k_m. The
plain side is what one would type: merge with PEFT, run llama.cpp's converter, quantize. Ours also
asks the trained model, holds logits, perplexity and answers of every file against it, and hashes.
Runs are interleaved; the median of each step is printed.

    python benchmarks/local_export.py [--pairs 3] [--rows 16]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "plugins/understudy-local/tests")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

FORMATS = ("f16", "q8_0", "q4_k_m")
MERGE = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, adapter, into = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
model = PeftModel.from_pretrained(model, adapter).merge_and_unload().half()
model.save_pretrained(into)
AutoTokenizer.from_pretrained(adapter).save_pretrained(into)
"""


def plain(base: Path, adapter: Path, folder: Path) -> dict[str, float]:
    """Merge, convert, quantize; seconds of each."""
    from understudy_local.export import tools

    merged, f16 = folder / "merged", folder / "f16.gguf"
    taken: dict[str, float] = {}
    start = time.monotonic()
    command = [sys.executable, "-c", MERGE, str(base), str(adapter), str(merged)]
    subprocess.run(command, check=True, capture_output=True)
    taken["merge"] = time.monotonic() - start
    start = time.monotonic()
    tools.convert(merged, f16, offline=False)
    taken["convert"] = time.monotonic() - start
    start = time.monotonic()
    for name in FORMATS[1:]:
        tools.quantize(f16, folder / f"{name}.gguf", name, threads=1)
    taken["quantize"] = time.monotonic() - start
    return taken


def ours(home: Path, model: str, held_out: Path, rows: int, key: str) -> dict[str, float]:
    """A whole export by its own process; seconds by step."""
    from export_kit import export_spec
    from local_kit import make_backend

    backend = make_backend(home, offline=False)
    spec = export_spec(held_out, model, base_model="smollm2-135m", rows=rows, max_output_tokens=64)
    taken: dict[str, float] = {}
    began = last = time.monotonic()
    doing = "start"
    handle = backend.start_export(spec, key=key)
    while not (status := backend.poll_export(handle)).state.terminal:
        now = time.monotonic()
        if status.raw != doing:
            taken[doing] = now - last
            doing, last = status.raw, now
        time.sleep(0.05)
    taken[doing] = time.monotonic() - last
    if status.problem is not None:
        raise SystemExit(status.problem.message)
    return {**taken, "whole": time.monotonic() - began}


def forget(home: Path, job: str) -> None:
    """Let the next export make everything anew."""
    import shutil

    for name in ("merged", "gguf", "exports"):
        shutil.rmtree(home / "jobs" / job / name, ignore_errors=True)
    for note in (home / "jobs" / job).glob("merged.json"):
        note.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--trained", type=Path, help="folder to keep the trained student in")
    told = parser.parse_args()
    from smollm_kit import trained
    from understudy_local import artifacts

    with tempfile.TemporaryDirectory() as folder:
        smollm = trained(told.trained or Path(folder) / "smollm")
        found = artifacts.trained(artifacts.Home(smollm.home), smollm.model)
        sides: dict[str, list[dict[str, float]]] = {"plain": [], "ours": []}
        for number in range(told.pairs):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                sides["plain"].append(plain(found.base, found.adapter, Path(place)))
            forget(smollm.home, smollm.handle.id)
            key = f"bench-{number}"
            sides["ours"].append(ours(smollm.home, smollm.model, smollm.held_out, told.rows, key))
    show(sides, told)


def show(sides: dict[str, list[dict[str, float]]], told: Any) -> None:
    median = {
        side: {step: statistics.median(run.get(step, 0.0) for run in runs) for step in runs[-1]}
        for side, runs in sides.items()
    }
    print(f"median of {told.pairs} interleaved pairs; load {os.getloadavg()[0]:.1f}")
    for side, steps in median.items():
        for step, seconds in steps.items():
            print(f"{side:6} {step:28} {seconds:7.1f} s")
    base = sum(median["plain"].values())
    made = sum(
        seconds
        for step, seconds in median["ours"].items()
        if step.startswith("writing") or step == "asking the trained model"
    )
    whole = median["ours"]["whole"]
    print(
        f"plain {base:.1f} s; ours without the proof {made:.1f} s ({made / base:.2f}x), "
        f"with it {whole:.1f} s ({whole / base:.2f}x) on {told.rows} rows"
    )


if __name__ == "__main__":
    main()
