"""Trains the tiny student in this process: what came out, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from local_kit import chats, pairs, write_rows
from understudy.model import PAIRED_METHODS
from understudy_local.artifacts import JobFolder, sha256_of
from understudy_local.params import LocalParams
from understudy_local.trainers.base import Result, Run
from understudy_local.trainers.reporting import Reporter
from understudy_local.trainers.rows import Prepared, prepare
from understudy_local.trainers.trl_trainer import Trl


@dataclass(frozen=True, slots=True)
class Fit:
    """One training run that ended."""

    folder: JobFolder
    result: Result
    rows: Prepared
    steps: list[dict[str, Any]]

    @property
    def losses(self) -> list[float]:
        return [step["loss"] for step in self.steps if "loss" in step]

    @property
    def sha256(self) -> str:
        return sha256_of(self.folder.adapter / "adapter_model.safetensors")

    def last(self, name: str) -> float:
        return float([step[name] for step in self.steps if name in step][-1])


def fit(folder: Path, student: Path, method: str = "supervised", **more: Any) -> Fit:
    """Train; ``more`` are hyperparameters, and ``rows``, ``looks``, ``seed``, ``resume``."""
    from transformers import AutoTokenizer

    count, looks, seed = more.pop("rows", 16), more.pop("looks", 0), more.pop("seed", 5)
    resume = more.pop("resume", None)
    lines = pairs if method in PAIRED_METHODS else chats
    told = {"batch_size": 4, "max_length": 128, "precision": "float32", "learning_rate": 0.01}
    params = LocalParams.model_validate(told | more)
    job = JobFolder(folder)
    shared = {
        "tokenizer": AutoTokenizer.from_pretrained(student),
        "method": method,
        "max_length": params.max_length,
    }
    source = folder / "train.jsonl"
    write_rows(source, lines(count))
    rows = prepare(source, job.rows / "train.arrow", **shared)
    validation = None
    if looks:
        write_rows(folder / "validation.jsonl", lines(looks, seed=99))
        validation = prepare(
            folder / "validation.jsonl", job.rows / "validation.arrow", **shared
        ).path
    run = Run(
        folder=job,
        method=method,
        params=params,
        base=student,
        train=rows.path,
        validation=validation,
        tokens=rows.tokens,
        seed=seed,
        device="cpu",
        resume=resume,
        report=Reporter(job),
    )
    result = Trl().train(run, job.adapter)
    told_ = [orjson.loads(line)["metrics"] for line in job.log.read_bytes().splitlines()]
    return Fit(job, result, rows, told_)
