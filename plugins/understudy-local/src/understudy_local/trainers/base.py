"""The one interface of trainers, and what they are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from understudy.model import Json
from understudy_local.artifacts import JobFolder
from understudy_local.params import LocalParams
from understudy_local.trainers.reporting import Reporter

__all__ = ["Result", "Run", "Stopped", "StudentTrainer", "TrainingFailed"]


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """Training stopped because it was asked to; the last checkpoint is whole."""


class TrainingFailed(Exception):  # noqa: N818 - the name says it
    """Training cannot go on. ``code`` is machine-readable; the message says what to change.

    ``code`` is one of: out_of_memory, no_disk, nan_loss, bad_rows, no_student, no_trainer.
    """

    def __init__(self, message: str, *, code: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One training run.

    Args:
        folder: where everything is kept.
        method: one of ``params.METHODS``.
        params: the hyperparameters.
        base: Hugging Face folder of the student.
        train, validation: Arrow files of tokens (see rows.py).
        tokens: of one pass over ``train``.
        seed: of everything drawn.
        device: ``cpu`` or ``cuda``.
        resume: the checkpoint to go on from.
        report: where progress and wishes go through.
    """

    folder: JobFolder
    method: str
    params: LocalParams
    base: Path
    train: Path
    validation: Path | None
    tokens: int
    seed: int
    device: str
    resume: Path | None
    report: Reporter


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """How a run ended. ``trained_tokens`` counts the passes over the rows in."""

    steps: int
    trained_tokens: int
    metrics: Mapping[str, Json]


class StudentTrainer(Protocol):
    """Trains an adapter for a student."""

    name: str

    def why_not(self, device: str) -> str | None:
        """Why it cannot be used here, in words; None if it can. Cheap: imports nothing heavy."""
        ...

    def begin(self) -> None:
        """Import what has to be imported before transformers; called first."""
        ...

    def train(self, run: Run, into: Path) -> Result:
        """Train, and save the adapter with tokenizer and chat template into the folder ``into``.

        Raises:
            Stopped: it was asked to, and has saved a checkpoint.
            TrainingFailed: it cannot go on.
        """
        ...
