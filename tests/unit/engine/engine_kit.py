"""A world for engine tests: a store, a fake provider with a bill, and a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from understudy.backend import Backend, BackendSpec, Capabilities
from understudy.costs import ledger
from understudy.costs.prices import PriceBook
from understudy.data import Dataset, prepare
from understudy.engine import Engine, Worker, commands, jobs, operations
from understudy.engine.context import Timing
from understudy.engine.points import Reach, nowhere
from understudy.errors import OutcomeUnknown
from understudy.evaluate import BUILTIN, EvaluationReport, Scorer, resolve
from understudy.hookspecs import PriceTable
from understudy.model import ChatReply, ChatRequest, JobSpec, Usage
from understudy.recipe import Cleaning, Evaluation, Source, Split
from understudy.states import TERMINAL, State
from understudy.store import Store, registry, schema
from understudy.testing import (
    DeployingFakeBackend,
    DeployingFakeProvider,
    ExportingFakeBackend,
    ExportingFakeProvider,
    FakeBackend,
    FakeProvider,
    ManualClock,
)
from understudy.testing.fake_deploying import DEPLOYING_FAKE_SPEC
from understudy.testing.fake_exporting import EXPORTING_FAKE_SPEC
from understudy.testing.fakes import FAKE_SPEC, FakeConnectionError, FakeHTTPError

__all__ = [
    "Crash",
    "DeployingKitBackend",
    "DeployingProvider",
    "ExportingKitBackend",
    "ExportingProvider",
    "KitBackend",
    "NoFindBackend",
    "OnePollBackend",
    "Provider",
    "World",
    "crash_at",
    "make_dataset",
    "price_book",
]

TRAIN, BASE_IN, BASE_OUT, TUNED_IN, TUNED_OUT = 1000, 100, 200, 300, 400
"""Prices of the fake provider in nano-dollars a token."""

_PRICES = """
[[sheet]]
provider = "fake"
as_of = 2026-11-22
source = "made up for tests"
confidence = "listed"
training = [{ models = ["*"], usd_per_million = "1" }]
hosting = [
  { models = ["*"], usd_per_hour = "1.70" },
  { models = ["*"], tier = "developer", usd_per_hour = "0" },
]
inference = [
  { models = ["*"], fine_tuned = false, input = "0.1", cached = "0.1", output = "0.2" },
  { models = ["*"], fine_tuned = true, input = "0.3", cached = "0.3", output = "0.4" },
  {models=["*"], tier="developer", fine_tuned=true, input="0.3", cached="0.3", output="0.4"},
]
"""


class Crash(BaseException):
    """What kill -9 is to a process: nothing in the engine may catch it."""


def price_book(folder: Path) -> PriceBook:
    path = folder / "fake-prices.toml"
    path.write_text(_PRICES)
    return PriceBook.load([PriceTable(name="fake", path=str(path))])


def make_dataset(folder: Path, rows: int = 40) -> Dataset:
    lines = [
        f'{{"messages": [{{"role": "user", "content": "question {n}"}}, '
        f'{{"role": "assistant", "content": "answer {n}"}}]}}\n'
        for n in range(rows)
    ]
    path = folder / "rows.jsonl"
    path.write_text("".join(lines))
    return prepare(
        source=Source(kind="chat", path=path),
        cleaning=Cleaning(),
        split=Split(train=0.6, validation=0.1, test=0.3),
        method="supervised",
        root=folder / "datasets",
    )


def right(model: str, question: str) -> str:
    """Students know the answers, base models do not."""
    return question.replace("question", "answer") if model.startswith("ft:") else "no idea"


@dataclass(kw_only=True)
class Provider(FakeProvider):
    """A fake provider whose models give scripted answers, and which keeps a bill of them."""

    answer: Callable[[str, str], str] = right
    asked: list[tuple[str, str]] = field(default_factory=list)
    chat_nanos: int = 0

    def chat(self, api_key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        with self._request(api_key):
            question = str(body["messages"][-1]["content"])
            said = self.answer(body["model"], question)
            words = max(1, len(question.split())), max(1, len(said.split()))
            tuned = body["model"].startswith("ft:")
            prices = (TUNED_IN, TUNED_OUT) if tuned else (BASE_IN, BASE_OUT)
            self.chat_nanos += words[0] * prices[0] + words[1] * prices[1]
            self.asked.append((body["model"], question))
            return {"content": said, "model": body["model"], "input": words[0], "output": words[1]}

    @property
    def bill_nanos(self) -> int:
        return self.billed_tokens * TRAIN + self.chat_nanos

    def live_jobs(self) -> list[str]:
        """Jobs that were not cancelled."""
        return [job.id for job in self.jobs.values() if self._status(job) != "cancelled"]


class KitBackend(FakeBackend):
    """Says so when it cannot know whether a completion was billed."""

    def complete(self, request: ChatRequest, *, timeout: float) -> ChatReply:
        body = {"model": request.model, "messages": list(request.messages)}
        try:
            reply = self.provider.chat(self._key(), body)
        except FakeConnectionError:
            raise OutcomeUnknown("the connection was cut; it may have been billed") from None
        except FakeHTTPError as error:
            if error.status >= 500:
                raise OutcomeUnknown("the server broke; it may have been billed") from None
            raise self._error(error) from None
        return ChatReply(
            message={"role": "assistant", "content": reply["content"]},
            finish_reason="stop",
            usage=Usage(input=reply["input"], output=reply["output"]),
            model=reply["model"],
        )


@dataclass(kw_only=True)
class DeployingProvider(DeployingFakeProvider, Provider):
    """Its models give their scripted answers through deployments alone."""

    @property
    def bill_nanos(self) -> int:
        return super().bill_nanos + self.hosting_nanos


class DeployingKitBackend(KitBackend, DeployingFakeBackend):
    """The same, and it deploys."""


@dataclass(kw_only=True)
class ExportingProvider(ExportingFakeProvider, Provider):
    """Its models give their scripted answers as files."""

    def said(self, model: str, question: str) -> str:
        return self.answer(model, question)


class ExportingKitBackend(KitBackend, ExportingFakeBackend):
    """The same, and its models are files."""


class NoFindBackend(KitBackend):
    """Cannot search for a job."""

    find = None  # type: ignore[assignment]


class OnePollBackend(KitBackend):
    """Looks at one job at a time."""

    poll_many = None  # type: ignore[assignment]


class _Backends:
    def __init__(self, world: World) -> None:
        self._world = world

    def backend(self, name: str) -> Backend:
        return self._world.backend

    def capabilities(self, name: str) -> Capabilities:
        return self._world.capabilities

    def scorer(self, name: str) -> Scorer:
        return resolve(name, BUILTIN)


def crash_at(label: str, *, times: int = 1) -> Reach:
    """Dies the first ``times`` times that ``label`` is reached."""
    left = [times]

    def reach(at: str) -> None:
        if at == label and left[0]:
            left[0] -= 1
            raise Crash(label)

    return reach


_KINDS: tuple[tuple[type[FakeBackend], type[Provider], BackendSpec], ...] = (
    (DeployingFakeBackend, DeployingProvider, DEPLOYING_FAKE_SPEC),
    (ExportingFakeBackend, ExportingProvider, EXPORTING_FAKE_SPEC),
    (FakeBackend, Provider, FAKE_SPEC),
)
"""What a backend of each kind talks to, and what is said of it."""


class World:
    """Everything that an engine needs, and a few questions about what became of it."""

    def __init__(
        self, store: Store, dataset: Dataset, *, cls: type[FakeBackend] = KitBackend
    ) -> None:
        self.store, self.dataset = store, dataset
        self.clock = ManualClock()
        made, spec = next(kind for base, *kind in _KINDS if issubclass(cls, base))
        self.provider: Provider = made(clock=self.clock)
        self.backend = cls(provider=self.provider, clock=self.clock)  # type: ignore[arg-type]
        self.capabilities: Capabilities = spec.capabilities
        self.prices = price_book(dataset.path.parent)
        self.worker = self.make_worker("w1")
        self.engine = self.make_engine("user")
        self._numbers = 0
        self.budget(10**12)

    def make_engine(self, name: str, reach: Reach = nowhere) -> Engine:
        return Engine(
            store=self.store,
            backends=_Backends(self),
            prices=self.prices,
            clock=self.clock,
            data_root=self.dataset.path.parent,
            timing=Timing(),
            reach=reach,
            worker=name,
        )

    def make_worker(self, name: str, reach: Reach = nowhere) -> Worker:
        return Worker(self.make_engine(name, reach))

    def budget(self, nanos: int, name: str = "b") -> None:
        with self.store.write() as tx:
            ledger.open_budget(tx, name=name, limit_nanos=nanos)

    def submit(
        self,
        *,
        run_key: str | None = None,
        train_key: str | None = None,
        evaluation: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        self._numbers += 1
        train = self.dataset.rows("train")
        spec = JobSpec(base_model="small", method="supervised", training=train)
        # So few rows make wide intervals: only a test that is about the margin narrows it.
        judged = {"bar": 0.1, "margin": 1.0, "max_rows": 4, "compare_base": False}
        judged["concurrency"] = 1
        values = {
            "name": "triage",
            "spec": spec,
            "dataset": str(self.dataset.path),
            "evaluation": Evaluation(**(judged | dict(evaluation or {}))),
            "alias": "live",
            "budget": "b",
            "on_exhausted": "attention",
            "train_at_most": train.tokens * 3 * TRAIN,
            "evaluate_at_most": 10**6,
            "expected_tokens": train.tokens * 3,
            "recipe": {},
        }
        key = run_key or f"run-{self._numbers}"
        return commands.submit(
            self.engine,
            plan=jobs.Plan(**(values | changes)),
            backend="fake",
            dataset_id=self.dataset.id,
            run_key=key,
            train_key=train_key or f"train-{key}",
        ).id

    # What became of it.

    def job(self, job_id: str) -> jobs.JobRecord:
        with self.store.read() as tx:
            return jobs.get(tx, job_id)

    def state(self, job_id: str) -> str:
        return self.job(job_id).state.value

    def history(self, job_id: str) -> list[jobs.JobEvent]:
        with self.store.read() as tx:
            return jobs.history(tx, job_id)

    def events(self, job_id: str) -> list[str]:
        return [event.event for event in self.history(job_id)]

    def op(self, job_id: str, kind: str = "train") -> operations.Operation:
        with self.store.read() as tx:
            return operations.get(tx, f"{job_id}.{kind}.1")

    def remote(self, job_id: str) -> str:
        """Id of the provider's job."""
        handle = self.op(job_id).handle
        assert handle is not None
        return handle.id

    def report(self, model_id: str) -> EvaluationReport:
        """The newest evaluation of a model version."""
        with self.store.read() as tx:
            newest = registry.history(tx, model_id)[0]
        return EvaluationReport.from_json(newest["report"])

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        with self.store.read() as tx:
            return [dict(row) for row in tx.execute(sa.select(table)).mappings()]

    def spent(self) -> int:
        return sum(row["spent_nanos"] for row in self.rows(schema.ledger))

    def reserved(self) -> int:
        return sum(row["reserved_nanos"] for row in self.rows(schema.budgets))

    def deployed(self) -> list[dict[str, Any]]:
        """Our record of deployments, oldest first."""
        return sorted(self.rows(schema.deployments), key=lambda row: row["created_at"])

    # Letting time pass.

    def drain(self) -> None:
        self.worker.drain()

    def step_to_next(self, limit: float = 10_000) -> bool:
        """Move the clock to when something is due, and do it; False where nothing ever is."""
        due = operations.next_due(self.store)
        if due is None or due - self.clock.now() > limit:
            return False
        # A lease must have ended, not only be about to.
        self.clock.advance(max(due - self.clock.now(), 0) + 0.001)
        self.worker.drain()
        return True

    def run_to(self, job_id: str, *states: str, steps: int = 300) -> str:
        """Let time pass until the job is in one of ``states`` (by default: until it rests)."""
        wanted = states or (*(state.value for state in TERMINAL), State.NEEDS_ATTENTION.value)
        self.drain()
        for _ in range(steps):
            if self.state(job_id) in wanted or not self.step_to_next():
                break
        found = self.state(job_id)
        assert found in wanted, f"{found} after {self.events(job_id)}"
        return found

    def capable(self, **changes: Any) -> None:
        self.capabilities = replace(self.capabilities, **changes)
