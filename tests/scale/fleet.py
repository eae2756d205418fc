"""Many worker processes on one PostgreSQL and one sandbox, under one budget."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from fault_kit import MODEL, write_calls

from understudy.config import load_config
from understudy.costs import ledger
from understudy.pipeline import prepare_run, start_run
from understudy.project import Project
from understudy.recipe import Recipe
from understudy.states import TERMINAL, State
from understudy.store import schema
from understudy_sandbox.launch import Sandbox

__all__ = ["Figures", "Fleet"]

_SCRIPT = Path(__file__).with_name("scale_worker.py")
_START = "2026-11-22T12:00:00+00:00"
_SPEED = 10
"""Sandbox seconds a second: a send window of 30 s is three seconds of a busy machine."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was seen."""

    jobs: int
    workers: int
    seconds: float
    states: dict[str, int]
    by_worker: dict[str, int]
    samples: int
    most_used: Decimal
    limit: Decimal
    spent: Decimal
    billed: Decimal

    def table(self) -> str:
        rows = [
            ("jobs", self.jobs),
            ("workers", self.workers),
            ("seconds", f"{self.seconds:.1f}"),
            ("jobs a second", f"{self.jobs / self.seconds:.1f}"),
            *((f"ended {state}", count) for state, count in sorted(self.states.items())),
            *((f"events by {name}", count) for name, count in sorted(self.by_worker.items())),
            ("budget", self.limit),
            ("most used at any sample", self.most_used),
            ("samples of the budget", self.samples),
            ("ledger", self.spent),
            ("provider's bill", self.billed),
        ]
        return "\n".join(f"{name:32} {value}" for name, value in rows)


class Fleet:
    """Sets everything up; ``run`` does the work and returns the figures."""

    def __init__(self, folder: Path, url: str, *, workers: int = 4) -> None:
        self.workers = workers
        anchor = time.time()
        self.sandbox = Sandbox(
            folder / "sandbox", clock=_START, clock_speed=_SPEED, clock_anchor=anchor
        ).start()
        self.file = folder / "understudy.toml"
        self.file.write_text("[worker]\nlease_seconds = 300\npoll_seconds = 5\n")
        self.env = os.environ | {
            "UNDERSTUDY_STORE": url,
            "UNDERSTUDY_CLOCK": f"{_START},{_SPEED},{anchor!r}",
            "OPENAI_API_KEY": self.sandbox.api_key,
            "OPENAI_BASE_URL": self.sandbox.url,
        }
        self.calls = write_calls(folder / "calls.jsonl")
        self.project = Project(load_config(self.file, self.env))

    def submit(self, count: int, *, share: Decimal) -> Decimal:
        """Submit ``count`` runs under a budget that covers ``share`` of their reservations."""
        first = prepare_run(self.project, self._recipe(0, Decimal(1000)))
        limit = (first.estimate.at_most * count * share).quantize(Decimal("0.000001"))
        engine = self.project.engine()
        for number in range(count):
            recipe = self._recipe(number, limit)
            prepared = prepare_run(self.project, recipe, online=False)
            start_run(self.project, engine, prepared)
        return limit

    def _recipe(self, number: int, limit: Decimal) -> Recipe:
        values: dict[str, Any] = {
            "name": f"run-{number:04}",
            "source": {"kind": "chat", "path": self.calls},
            "split": {"train": 0.6, "validation": 0.1, "test": 0.3},
            "train": {
                "backend": "openai",
                "base_model": MODEL,
                "hyperparameters": {"n_epochs": 1},
            },
            "evaluation": {"bar": 0.0, "max_rows": 1, "compare_base": False},
            "budget": {"name": "shared", "limit_usd": limit, "on_exhausted": "cancel"},
        }
        return Recipe.model_validate(values)

    def run(self, count: int, *, share: Decimal, patience: float) -> Figures:
        limit = self.submit(count, share=share)
        command = [sys.executable, str(_SCRIPT), str(self.file)]
        began = time.monotonic()
        processes = [
            subprocess.Popen(command, env=self.env, stdin=subprocess.PIPE)
            for _ in range(self.workers)
        ]
        used: list[Decimal] = []
        try:
            while self._open_jobs() and time.monotonic() - began < patience:
                used.append(self._used())
                # The pause between two samples; a worker that ends here has crashed.
                try:
                    processes[0].wait(timeout=0.1)
                except subprocess.TimeoutExpired:
                    continue
                break
        finally:
            seconds = time.monotonic() - began
            for process in processes:
                process.communicate()
        used.append(self._used())
        assert [process.returncode for process in processes] == [0] * self.workers
        return self._figures(count, seconds, used, limit)

    def _open_jobs(self) -> int:
        # What needs a person is not waited for: the checks that follow say so.
        ended = [*(state.value for state in TERMINAL), State.NEEDS_ATTENTION.value]
        query = sa.select(sa.func.count()).where(schema.jobs.c.state.not_in(ended))
        with self.project.store.read() as tx:
            return int(tx.execute(query).scalar_one())

    def _used(self) -> Decimal:
        with self.project.store.read() as tx:
            state = ledger.budget_state(tx, "shared")
        assert state is not None
        return state.spent + state.reserved

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        with self.project.store.read() as tx:
            return [dict(row) for row in tx.execute(sa.select(table)).mappings()]

    def _figures(self, count: int, seconds: float, used: list[Decimal], limit: Decimal) -> Figures:
        with self.project.store.read() as tx:
            spent = sum((line["spent_usd"] for line in ledger.entries(tx)), Decimal(0))
        return Figures(
            jobs=count,
            workers=self.workers,
            seconds=seconds,
            states=dict(Counter(row["state"] for row in self.rows(schema.jobs))),
            by_worker=dict(Counter(str(row["worker"]) for row in self.rows(schema.events))),
            samples=len(used),
            most_used=max(used),
            limit=limit,
            spent=spent,
            billed=Decimal(self.sandbox.bill()["total_usd"]),
        )

    def close(self) -> None:
        self.project.close()
        self.sandbox.stop()
