"""The real engine and the OpenAI plugin against a sandbox; both clocks stand still until moved."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from pydantic import SecretStr

from understudy.clock import FastClock
from understudy.config import Config, DataSettings, StoreSettings, WorkerSettings
from understudy.costs import ledger
from understudy.engine import Worker, jobs, operations
from understudy.pipeline import Prepared, prepare_run, start_run
from understudy.project import Project
from understudy.recipe import Recipe
from understudy.states import TERMINAL, State
from understudy.testing import ManualClock
from understudy_sandbox.launch import Sandbox

__all__ = ["MODEL", "START", "Bench", "Provider", "write_calls"]

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
MODEL = "gpt-4o-mini-2024-07-18"
CREATE = "fine_tuning.jobs.create"


class Provider:
    """A sandbox whose clock moves together with ours, and only by hand."""

    def __init__(self, folder: Path, *, api_key: str = "sk-understudy-faults-0123456789") -> None:
        self.clock = ManualClock(START.timestamp())
        self.sandbox = Sandbox(
            folder, api_key=api_key, clock=START.isoformat(), clock_speed=0.0, clock_anchor=0.0
        )

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.sandbox.advance(seconds)

    def requests(self, operation: str | None = None) -> int:
        found = self.sandbox.state()["requests"]
        return int(sum(found.values()) if operation is None else found.get(operation, 0))

    def jobs(self) -> dict[str, str]:
        """Status by id."""
        return {job["id"]: job["status"] for job in self.sandbox.state()["jobs"]}

    def bill(self) -> Decimal:
        return Decimal(self.sandbox.bill()["total_usd"])


def write_calls(path: Path, *, word: str = "item", rows: int = 60) -> Path:
    """Chat rows of a task that the sandbox's learner masters."""
    lines = [
        f'{{"messages": [{{"role": "user", "content": "is {word} {n} {kind}?"}}, '
        f'{{"role": "assistant", "content": "{answer}"}}]}}\n'
        for n in range(rows)
        for kind, answer in [("hot", "yes") if n % 2 else ("cold", "no")]
    ]
    path.write_text("".join(lines))
    return path


class Bench:
    """One project of its own on the shared provider."""

    def __init__(self, provider: Provider, folder: Path, store_url: str) -> None:
        self.provider, self.folder = provider, folder
        self.sandbox = provider.sandbox
        self.config = Config(
            project=folder,
            file=None,
            store=StoreSettings(url=SecretStr(store_url)),
            data=DataSettings(root=folder / "datasets"),
            worker=WorkerSettings(poll_seconds=5),
            clock=cast("FastClock", provider.clock),
            env={"OPENAI_API_KEY": self.sandbox.api_key, "OPENAI_BASE_URL": self.sandbox.url},
        )
        self.project = Project(self.config)
        self.engine = self.project.engine()
        self.worker = Worker(self.engine)
        self.calls = write_calls(folder / "calls.jsonl")
        self.billed_before = provider.bill()
        self.jobs_before = set(provider.jobs())

    def recipe(self, **changes: Any) -> Recipe:
        train = {"backend": "openai", "base_model": MODEL, "hyperparameters": {"n_epochs": 1}}
        values: dict[str, Any] = {
            "name": "hot",
            "alias": "hot",
            "source": {"kind": "chat", "path": self.calls},
            "split": {"train": 0.6, "validation": 0.1, "test": 0.3},
            "train": train | changes.pop("train", {}),
            "evaluation": {"bar": 0.1, "max_rows": 4, "compare_base": False, "concurrency": 1},
            "budget": {"limit_usd": 20},
        }
        return Recipe.model_validate(values | changes)

    def prepare(self, **changes: Any) -> Prepared:
        return prepare_run(self.project, self.recipe(**changes))

    def start(self, **changes: Any) -> str:
        job, new = start_run(self.project, self.engine, self.prepare(**changes))
        assert new
        return job.id

    def faults(self, *rules: dict[str, Any]) -> None:
        self.sandbox.faults(*rules)

    def fired(self) -> list[int]:
        """How often each rule of the fault script fired."""
        return [rule["hits"] for rule in self.sandbox.fault_counts()]

    def drain(self) -> None:
        self.worker.drain()

    def job(self, job_id: str) -> jobs.JobRecord:
        with self.project.store.read() as tx:
            return jobs.get(tx, job_id)

    def state(self, job_id: str) -> str:
        return self.job(job_id).state.value

    def history(self, job_id: str) -> list[jobs.JobEvent]:
        with self.project.store.read() as tx:
            return jobs.history(tx, job_id)

    def events(self, job_id: str) -> list[str]:
        return [event.event for event in self.history(job_id)]

    def op(self, job_id: str, kind: str = "train") -> operations.Operation:
        with self.project.store.read() as tx:
            return operations.get(tx, f"{job_id}.{kind}.1")

    def step_to_next(self) -> bool:
        due = operations.next_due(self.project.store)
        if due is None:
            return False
        self.provider.advance(max(due - self.provider.clock.now(), 0) + 0.001)
        self.drain()
        return True

    def run_to(self, job_id: str, *states: str, steps: int = 400) -> str:
        wanted = states or (*(state.value for state in TERMINAL), State.NEEDS_ATTENTION.value)
        self.drain()
        for _ in range(steps):
            if self.state(job_id) in wanted or not self.step_to_next():
                break
        found = self.state(job_id)
        assert found in wanted, f"{found} after {self.events(job_id)}; {self.op_errors(job_id)}"
        return found

    def op_errors(self, job_id: str) -> list[str | None]:
        with self.project.store.read() as tx:
            return [op.last_error for op in operations.of_job(tx, job_id)]

    def made(self) -> dict[str, str]:
        """The provider's jobs of this bench: status by id."""
        return {k: v for k, v in self.provider.jobs().items() if k not in self.jobs_before}

    def billed(self) -> Decimal:
        return self.provider.bill() - self.billed_before

    def spent(self) -> Decimal:
        with self.project.store.read() as tx:
            return sum((line["spent_usd"] for line in ledger.entries(tx)), Decimal(0))

    def reserved(self) -> Decimal:
        with self.project.store.read() as tx:
            return sum((line["reserved_usd"] for line in ledger.entries(tx)), Decimal(0))

    def assert_paid_once(self) -> None:
        """One remote job, and our ledger is the provider's bill to the last digit."""
        assert len(self.made()) == 1
        assert self.spent() == self.billed()
        assert self.reserved() == 0

    def close(self) -> None:
        self.sandbox.faults()
        self.project.close()
