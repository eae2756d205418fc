"""A trainer that trains nothing and does as the file ``script`` beside its home says.

``hold``: stay in the first step until a wish or the file ``go`` comes. ``deaf``: the same, and
hear nothing. ``killed``: kill itself. ``broken``: leave a failure. ``silent``: exit 3.
Otherwise: ten steps with checkpoints, and an adapter.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from understudy_local.artifacts import JobFolder, write_json
from understudy_local.jobfile import read_order
from understudy_local.trainers.reporting import Reporter
from understudy_local.trainers.run import STOPPED, _die_with_parent

STEPS = 10


def save(folder: JobFolder, step: int) -> None:
    made = folder.checkpoints / f"checkpoint-{step}"
    made.mkdir(parents=True, exist_ok=True)
    (made / "adapter_model.safetensors").write_bytes(str(step).encode())
    (made / "complete").touch()


def main(folder: JobFolder) -> int:
    _die_with_parent()
    order = read_order(folder)
    script = order.home / "script"
    word = script.read_text().strip() if script.is_file() else ""
    report = Reporter(folder)
    with (order.home / "starts").open("a") as file:
        file.write(f"{folder.id} {time.monotonic_ns()}\n")
    if word != "deaf":
        signal.signal(signal.SIGTERM, lambda *_: report.ask_to_stop())
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if word in {"killed", "broken", "silent"}:
        return end_badly(folder, word)
    kept = folder.complete_checkpoints()
    first = kept[-1][0] if kept else 0
    report.begin(step=first, total=STEPS, tokens_a_step=100)
    if word in {"hold", "deaf"}:
        # A child of its own, which must not outlive a cancel either.
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        while not (order.home / "go").exists() and (report.wanted or word == "deaf"):
            time.sleep(0.01)
    for step in range(first + 1, STEPS + 1):
        report.step(step, {"loss": 1 / step, "learning_rate": 1e-4})
        report.note(f"step {step} of {STEPS}", step=step, loss=1 / step)
        save(folder, step)
        if not report.wanted:
            return STOPPED
    finish(folder, order.home)
    return 0


def end_badly(folder: JobFolder, word: str) -> int:
    if word == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "broken":
        told = {"code": "nan_loss", "message": "the loss is nan; lower learning_rate"}
        write_json(folder.failure, told)
    return 3


def finish(folder: JobFolder, base: Path) -> None:
    part = folder.path / ".adapter.part"
    part.mkdir(exist_ok=True)
    weights = b"weights"
    (part / "adapter_model.safetensors").write_bytes(weights)
    told = {
        "steps": STEPS,
        "trained_tokens": 1000,
        "metrics": {"loss": 0.1},
        "trainer": "fake",
        "device": "cpu",
        "base": os.fspath(base),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    write_json(part / "trained.json", told)
    part.replace(folder.adapter)


if __name__ == "__main__":
    sys.exit(main(JobFolder(Path(sys.argv[1]))))
