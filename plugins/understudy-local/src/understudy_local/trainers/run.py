"""The process that trains: ``python -m understudy_local.trainers.run JOB_FOLDER``.

Started by the worker with the device that it may use. It leaves the finished adapter, or a
checkpoint and exit code 75 when it was asked to stop, or ``failure.json`` and exit code 1.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from understudy_local.artifacts import Home, JobFolder, sha256_of, write_json
from understudy_local.jobfile import Order, read_order
from understudy_local.students import Source
from understudy_local.trainers.base import Run, Stopped, StudentTrainer, TrainingFailed
from understudy_local.trainers.failures import explain
from understudy_local.trainers.reporting import Reporter

__all__ = ["DEVICE", "PARENT", "STOPPED", "main", "train"]

STOPPED = 75
"""Exit code: asked to stop, and has saved a checkpoint."""
DEVICE = "UNDERSTUDY_LOCAL_DEVICE"
PARENT = "UNDERSTUDY_LOCAL_PARENT"
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def main(folder: JobFolder, device: str) -> int:
    """Train one job to its end; the exit code."""
    _die_with_parent()
    report = Reporter(folder, silent=os.environ.get("RANK", "0") != "0")
    signal.signal(signal.SIGTERM, lambda *_: report.ask_to_stop())
    order = read_order(folder)
    try:
        train(folder, order, device, report)
    except Stopped:
        report.note("stopped as asked; the last checkpoint is kept")
        return STOPPED
    except Exception as error:  # noqa: BLE001 - whatever it was, it is told, and the worker decides
        traceback.print_exc()
        failure = explain(error, order.params, device)
        report.note(str(failure), level="error")
        write_json(folder.failure, {"code": failure.code, "message": str(failure)})
        return 1
    return 0


def _die_with_parent() -> None:
    """Let the kernel end this process with its worker: nobody would listen any more."""
    parent = os.environ.get(PARENT)
    if parent is None or not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("the worker of this job has ended")


def train(folder: JobFolder, order: Order, device: str, report: Reporter) -> None:
    """Prepare student and rows, train, and put the adapter in its place.

    Raises:
        Stopped: as asked.
        Exception: anything; ``failures.explain`` puts it into words.
    """
    chosen = choose(order.params.trainer, device)
    chosen.begin()
    report.note(f"the trainer is {chosen.name} on {device}")
    base = _base(order, report)
    run = _run(folder, order, device, report, base)
    part = folder.path / ".adapter.part"
    shutil.rmtree(part, ignore_errors=True)
    result = chosen.train(run, part)
    if os.environ.get("RANK", "0") != "0":
        return
    told = {
        "steps": result.steps,
        "trained_tokens": result.trained_tokens,
        "metrics": dict(result.metrics),
        "trainer": chosen.name,
        "device": device,
        "base": os.fspath(base),
        "sha256": sha256_of(part / "adapter_model.safetensors"),
    }
    write_json(part / "trained.json", told)
    part.replace(folder.adapter)


def choose(wanted: str, device: str) -> StudentTrainer:
    """The trainer that was asked for; ``auto`` takes Unsloth on a GPU where it can be used."""
    from understudy_local.trainers.trl_trainer import Trl
    from understudy_local.trainers.unsloth_trainer import Unsloth

    unsloth, trl = Unsloth(), Trl()
    if wanted == "auto":
        better = device == "cuda" and unsloth.why_not(device) is None
        found: StudentTrainer = unsloth if better else trl
    else:
        found = unsloth if wanted == "unsloth" else trl
    why = found.why_not(device)
    if why is not None:
        raise TrainingFailed(f"the trainer {found.name} cannot be used: {why}", code="no_trainer")
    return found


def _base(order: Order, report: Reporter) -> Path:
    from understudy_local.trainers.bases import prepare_base

    home, source = (
        Home(order.home),
        Source(kind=order.source_kind, at=order.source_at, sha256=order.source_sha256),
    )
    report.note(f"getting the student {order.base_model} ready")
    return prepare_base(source, home, token=os.environ.get("HF_TOKEN"), offline=order.offline)


def _run(folder: JobFolder, order: Order, device: str, report: Reporter, base: Path) -> Run:
    from transformers import AutoTokenizer

    from understudy_local.trainers.rows import prepare

    tokenizer: Any = AutoTokenizer.from_pretrained(os.fspath(base))
    shared = {
        "tokenizer": tokenizer,
        "method": order.method,
        "max_length": order.params.max_length,
    }
    rows = prepare(order.training, folder.rows / "train.arrow", **shared)
    looks = None
    if order.validation is not None:
        looks = prepare(order.validation, folder.rows / "validation.arrow", **shared)
    report.note(
        f"{rows.rows} rows, {rows.tokens} tokens; {rows.rejected} left out",
        rows=rows.rows,
        tokens=rows.tokens,
        rejected=rows.rejected,
    )
    kept = folder.complete_checkpoints()
    return Run(
        folder=folder,
        method=order.method,
        params=order.params,
        base=base,
        train=rows.path,
        validation=None if looks is None else looks.path,
        tokens=rows.tokens,
        seed=order.seed,
        device=device,
        resume=kept[-1][1] if kept else None,
        report=report,
    )


if __name__ == "__main__":
    _folder = JobFolder(Path(sys.argv[1]))
    sys.exit(main(_folder, os.environ.get(DEVICE, "cpu")))
