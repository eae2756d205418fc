"""What happens between the steps: heartbeat, log, wishes, whole checkpoints, NaN."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from understudy_local.artifacts import JobFolder
from understudy_local.trainers.base import TrainingFailed
from understudy_local.trainers.reporting import Reporter

__all__ = ["Following", "mark_complete"]

_NAMES = {"eval_loss": "validation_loss", "mean_token_accuracy": "token_accuracy"}


class Following(TrainerCallback):  # type: ignore[misc]
    """Follows a trainer of transformers.

    Args:
        folder: the job's.
        report: where progress goes and wishes come from.
        tokens_a_step: of the whole batch, on average.
        keep: how many checkpoints are kept.
    """

    def __init__(
        self, folder: JobFolder, report: Reporter, *, tokens_a_step: float, keep: int
    ) -> None:
        self._folder, self._report, self._keep = folder, report, keep
        self._tokens_a_step = tokens_a_step
        self.stopped = False

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Say where training begins."""
        self._report.begin(
            step=state.global_step, total=state.max_steps, tokens_a_step=self._tokens_a_step
        )
        word = "resumed" if state.global_step else "started"
        self._report.note(
            f"training {word} at step {state.global_step} of {state.max_steps}",
            step=state.global_step,
        )

    def on_log(self, _args: Any, state: Any, _control: Any, logs: Any = None, **_: Any) -> None:
        """A loss came out: tell it, and stop for good when it is no number."""
        logs = logs or {}
        for name in ("loss", "eval_loss"):
            if name in logs and not math.isfinite(logs[name]):
                raise TrainingFailed(
                    f"the loss is {logs[name]} at step {state.global_step}. Lower learning_rate "
                    "(a tenth is a good next try), raise warmup_ratio, or set precision = "
                    '"float32"; and look for empty or garbled rows',
                    code="nan_loss",
                )
        if "loss" in logs or "eval_loss" in logs:
            told = {_NAMES.get(name, name): value for name, value in logs.items()}
            words = f"step {state.global_step} of {state.max_steps}"
            self._report.note(words, step=state.global_step, **told)
            self._report.step(state.global_step, told, peak=_device_peak())

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> None:
        """One more step is done; go on only if it is still wanted."""
        if not self._report.wanted and state.global_step < state.max_steps:
            self.stopped = True
            control.should_save = True
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        """A checkpoint was written: make it last, mark it whole, drop the oldest."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if not args.should_save or not folder.is_dir():
            return
        mark_complete(folder)
        best = getattr(state, "best_model_checkpoint", None)
        kept = self._folder.complete_checkpoints()
        for _step, old in kept[: -self._keep]:
            if best is None or old != Path(best):
                # Unmarked first: half a folder is then no checkpoint.
                (old / "complete").unlink()
                shutil.rmtree(old)
        self._report.note(f"checkpoint at step {state.global_step}", step=state.global_step)


def mark_complete(folder: Path) -> None:
    """Bring the files of a checkpoint to the disk, then say that it is whole."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    (folder / "complete").touch()


def _device_peak() -> int:
    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else 0
