"""Precompute at scale: the command line plans, workers drive, and some of them are killed."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
from fault_kit import MODEL, write_calls

from understudy.batch import RunReport, run_report
from understudy.config import load_config
from understudy.costs import ledger
from understudy.engine.batch_shards import LIVE
from understudy.project import Project
from understudy_sandbox.launch import Sandbox

__all__ = ["Figures", "Kitchen"]

_START = "2026-11-22T12:00:00+00:00"
_CLI = (sys.executable, "-m", "understudy.cli")
_RECIPE = """\
name = "hot"
[input]
path = "rows.jsonl"
[ask]
backend = "openai"
model = "{model}"
prompt = "is {{{{ q }}}}?"
max_output_tokens = 8
[batch]
requests_a_batch = {requests}
[check]
sample = 0
[budget]
limit_usd = 100000
"""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was seen. Times in seconds of the wall, sizes in MB."""

    rows: int
    batches: int
    kills: int
    most_at_once: int
    planning: float
    plan_mb: float
    driving: float
    worker_mb: float
    entries: int
    spent: Decimal
    billed: Decimal

    def table(self) -> str:
        lines = [
            ("rows", f"{self.rows:,}"),
            ("batches", self.batches),
            ("most of them at once", self.most_at_once),
            ("workers killed", self.kills),
            ("seconds to plan", f"{self.planning:.1f}"),
            ("rows planned a second", f"{self.rows / self.planning:,.0f}"),
            ("planner's peak memory, MB", f"{self.plan_mb:.0f}"),
            ("seconds from submission to publication", f"{self.driving:.1f}"),
            ("worker's peak memory, MB", f"{self.worker_mb:.0f}"),
            ("answers in the generation", f"{self.entries:,}"),
            ("ledger", self.spent),
            ("provider's bill", self.billed),
        ]
        return "\n".join(f"{name:40} {value}" for name, value in lines)


class Kitchen:
    """A project folder, a sandbox with one trained student, and processes that work on it."""

    def __init__(
        self,
        folder: Path,
        *,
        rows: int,
        requests: int,
        enqueued: int,
        speed: float,
        lease: float = 120,
        repeated: int = 0,
    ) -> None:
        self.folder, self.count = folder, rows
        anchor = time.time()
        self.sandbox = Sandbox(
            folder / "sandbox",
            clock=_START,
            clock_speed=speed,
            clock_anchor=anchor,
            batch_token_limit=enqueued,
        ).start()
        self.env = os.environ | {
            "UNDERSTUDY_CLOCK": f"{_START},{speed},{anchor!r}",
            "OPENAI_API_KEY": self.sandbox.api_key,
            "OPENAI_BASE_URL": self.sandbox.url,
        }
        model = self._train()
        (folder / "understudy.toml").write_text(
            f"[worker]\nlease_seconds = {lease}\npoll_seconds = 2\npoll_max_seconds = 10\n"
            f'[backends.openai]\nbatch_enqueued_tokens = {{ "*" = {enqueued} }}\n'
        )
        (folder / "hot.toml").write_text(_RECIPE.format(model=model, requests=requests))
        with (folder / "rows.jsonl").open("w") as file:
            kinds = ("hot", "cold")
            numbers = (n % (rows - repeated) for n in range(rows))
            file.writelines(f'{{"q":"item {n} {kinds[n % 2]}"}}\n' for n in numbers)
        self.billed_before = Decimal(self.sandbox.bill()["total_usd"])

    def _train(self) -> str:
        client = openai.OpenAI(api_key=self.sandbox.api_key, base_url=self.sandbox.url)
        calls = write_calls(self.folder / "calls.jsonl")
        file = client.files.create(file=calls, purpose="fine-tune")
        job = client.fine_tuning.jobs.create(model=MODEL, training_file=file.id)
        while not job.fine_tuned_model:
            self.sandbox.advance(60)
            job = client.fine_tuning.jobs.retrieve(job.id)
        return str(job.fine_tuned_model)

    def plan(self, *more: str) -> tuple[float, float, Any]:
        """Run the planner: seconds, peak memory in MB, and what it said."""
        began = time.monotonic()
        command = (*_CLI, "precompute", "hot.toml", "--json", *more)
        with (self.folder / "plan.json").open("w") as said:
            process = subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=said)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        told = json.loads((self.folder / "plan.json").read_text())
        return time.monotonic() - began, usage.ru_maxrss / 1024, told

    def run(self, *, kills: int = 0, seed: int = 1, between: tuple[float, float]) -> Figures:
        """Plan, submit, and drive to the end; ``kills`` workers die on the way.

        Args:
            kills: how many.
            seed: of the moments.
            between: least and most seconds that one of them lives.
        """
        planning, plan_mb, said = self.plan("--detach")
        chance = random.Random(seed)
        began = time.monotonic()
        peak, most = 0.0, 0
        killed = 0
        while True:
            left = chance.uniform(*between) if killed < kills else None
            died, memory, seen = self._work(left, said["id"])
            peak, most = max(peak, memory), max(most, seen)
            killed += died
            if not died:
                break
        driving = time.monotonic() - began
        report, entries, spent = self._ended(said["id"])
        assert report.run.state == "done", report.to_json()
        return Figures(
            rows=self.count,
            batches=len(self.batches()),
            kills=killed,
            most_at_once=most,
            planning=planning,
            plan_mb=plan_mb,
            driving=driving,
            worker_mb=peak,
            entries=entries,
            spent=spent,
            billed=Decimal(self.sandbox.bill()["total_usd"]) - self.billed_before,
        )

    def _work(self, left: float | None, run_id: str) -> tuple[bool, float, int]:
        """One worker until nothing is left or it is killed: died?, peak MB, batches at once."""
        command = (*_CLI, "worker", "--drain", "--concurrency", "2")
        with (self.folder / "worker.log").open("a") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=self.env, stderr=log)
        began = time.monotonic()
        most = 0
        descriptor = os.pidfd_open(process.pid)
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        with self._project() as project:
            while not ended.poll(250):
                if left is not None and time.monotonic() - began > left:
                    process.send_signal(signal.SIGKILL)
                    left = None
                shards = run_report(project.store, run_id).shards
                most = max(most, sum(shard.state in LIVE for shard in shards))
        os.close(descriptor)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode in {0, -signal.SIGKILL}, (self.folder / "worker.log").read_text()
        return process.returncode != 0, usage.ru_maxrss / 1024, most

    def _project(self) -> Project:
        return Project(load_config(self.folder / "understudy.toml", self.env))

    def _ended(self, run_id: str) -> tuple[RunReport, int, Decimal]:
        with self._project() as project:
            report = run_report(project.store, run_id)
            current = project.cache.stats("hot").current
            with project.store.read() as tx:
                spent = sum((line["spent_usd"] for line in ledger.entries(tx)), Decimal(0))
        return report, current.entries if current else 0, spent

    def batches(self) -> list[Any]:
        client = openai.OpenAI(api_key=self.sandbox.api_key, base_url=self.sandbox.url)
        return list(client.batches.list(limit=100))

    def check(self, figures: Figures) -> None:
        """Every request was answered exactly once, and no batch was submitted twice."""
        batches = self.batches()
        ran = [batch for batch in batches if batch.status != "failed"]
        shards = [batch.metadata["understudy_shard"] for batch in ran]
        assert len(set(shards)) == len(shards), "a batch was submitted twice"
        answered = sum(batch.request_counts.completed for batch in ran)
        assert answered == figures.rows == figures.entries
        assert figures.spent == figures.billed > 0

    def close(self) -> None:
        self.sandbox.stop()
