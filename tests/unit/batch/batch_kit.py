"""Precompute runs against a sandbox; both clocks stand still until moved."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import orjson
import sqlalchemy as sa
from fault_kit import Provider
from pydantic import SecretStr

from understudy.batch import (
    Plan,
    PrecomputeRecipe,
    Questions,
    RunReport,
    make_plan,
    run_report,
    start,
)
from understudy.cache import key_of
from understudy.clock import FastClock
from understudy.config import CacheSettings, Config, DataSettings, StoreSettings, WorkerSettings
from understudy.costs import ledger
from understudy.engine import Worker, operations
from understudy.engine.batch_shards import Run, RunState, Shard
from understudy.engine.points import Reach, nowhere
from understudy.fingerprint import fingerprint
from understudy.project import Project
from understudy.store import schema

__all__ = ["MODEL", "PROMPT", "Desk", "questions"]

MODEL = "gpt-4o-mini-2024-07-18"
PROMPT = "Is {{ q }} hot?"
_KINDS = {"batch", "batch_upload", "batch_collect"}


def questions(count: int, *, word: str = "item") -> list[dict[str, Any]]:
    return [{"q": f"{word} {number}"} for number in range(count)]


class Desk:
    """One project on a shared sandbox, with what is asked of a run."""

    def __init__(
        self,
        provider: Provider,
        folder: Path,
        store_url: str,
        *,
        reach: Reach = nowhere,
        **backend: Any,
    ) -> None:
        self.provider, self.folder = provider, folder
        self.sandbox = provider.sandbox
        self.config = Config(
            project=folder,
            file=None,
            store=StoreSettings(url=SecretStr(store_url)),
            data=DataSettings(root=folder / "datasets", batches=folder / "batches"),
            cache=CacheSettings(url=SecretStr(f"sqlite:///{folder / 'cache'}")),
            worker=WorkerSettings(poll_seconds=5),
            clock=cast("FastClock", provider.clock),
            backends={"openai": backend} if backend else {},
            env={"OPENAI_API_KEY": self.sandbox.api_key, "OPENAI_BASE_URL": self.sandbox.url},
        )
        self.project = Project(self.config, reach=reach)
        self.engine = self.project.engine()
        self.worker = Worker(self.engine)
        self.billed_before = provider.bill()
        self.batches_before = {batch["id"] for batch in self._remote()}

    # What is asked.

    def rows(self, rows: Iterable[Mapping[str, Any] | bytes], name: str = "rows.jsonl") -> Path:
        path = self.folder / name
        lines = [row if isinstance(row, bytes) else orjson.dumps(row) for row in rows]
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path

    def recipe(self, path: Path, **changes: Any) -> PrecomputeRecipe:
        sections: dict[str, Any] = {
            "name": "hot",
            "input": {"path": str(path)},
            "ask": {
                "backend": "openai",
                "model": MODEL,
                "prompt": PROMPT,
                "max_output_tokens": 200,
                "expected_output_tokens": 20,
            },
            "batch": {"requests_a_batch": 40},
            "check": {"sample": 0},
            "budget": {"limit_usd": 5},
        }
        for name, change in changes.items():
            old = sections.get(name)
            sections[name] = {**old, **change} if isinstance(old, dict) else change
        return PrecomputeRecipe.model_validate(sections)

    def plan(self, recipe: PrecomputeRecipe, **options: Any) -> Plan:
        return make_plan(self.engine, self.project.cache, recipe, **options)

    def begin(self, count: int = 100, **changes: Any) -> Run:
        """Submit a run over ``count`` questions."""
        recipe = self.recipe(self.rows(questions(count)), **changes)
        run, _ = start(self.engine, self.plan(recipe))
        return run

    def faults(self, *rules: dict[str, Any]) -> None:
        self.sandbox.faults(*rules)

    def fired(self) -> list[int]:
        return [rule["hits"] for rule in self.sandbox.fault_counts()]

    # Letting time pass.

    def step_to_next(self) -> bool:
        due = operations.next_due(self.project.store)
        if due is None:
            return False
        self.provider.advance(max(due - self.provider.clock.now(), 0) + 0.001)
        self.worker.drain()
        return True

    def run_to(self, run: Run, *states: str, steps: int = 400) -> RunReport:
        """Let time pass until the run is in one of ``states``, by default until it rests."""
        wanted = set(states) or {s.value for s in RunState if s.ended} | {"needs_attention"}
        self.worker.drain()
        for _ in range(steps):
            if self.report(run).run.state.value in wanted or not self.step_to_next():
                break
        report = self.report(run)
        assert report.run.state.value in wanted, f"{report.to_json()}; {self.errors()}"
        return report

    def run_until(self, done: Any, *, steps: int = 400) -> None:
        self.worker.drain()
        for _ in range(steps):
            if done() or not self.step_to_next():
                break
        assert done(), self.errors()

    # What became of it.

    def report(self, run: Run) -> RunReport:
        return run_report(self.project.store, run.id)

    def shards(self, run: Run) -> tuple[Shard, ...]:
        return self.report(run).shards

    def errors(self) -> list[str]:
        with self.project.store.read() as tx:
            rows = tx.execute(sa.select(schema.operations)).mappings().all()
        return [f"{row['key']} {row['status']}: {row['last_error']}" for row in rows]

    def _remote(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            page = self._get(f"/batches?limit=100{after}")
            found += page["data"]
            if not page["has_more"]:
                return found[::-1]
            after = f"&after={page['last_id']}"

    def _get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.sandbox.api_key}"}
        asked = urllib.request.Request(self.sandbox.url + path, headers=headers)
        with urllib.request.urlopen(asked, timeout=30) as reply:
            return orjson.loads(reply.read())

    def batches(self) -> list[dict[str, Any]]:
        """The provider's batches of this desk, oldest first."""
        return [one for one in self._remote() if one["id"] not in self.batches_before]

    def billed(self) -> Decimal:
        return self.provider.bill() - self.billed_before

    def lines(self) -> list[dict[str, Any]]:
        with self.project.store.read() as tx:
            return ledger.entries(tx)

    def spent(self) -> Decimal:
        return sum((line["spent_usd"] for line in self.lines()), Decimal(0))

    def reserved(self) -> Decimal:
        return sum((line["reserved_usd"] for line in self.lines()), Decimal(0))

    def cached(self, run: Run, rows: Iterable[Mapping[str, Any]]) -> list[bytes | None]:
        """What the cache holds for each row."""
        asks = Questions(ask=self.recipe(Path("x.jsonl")).ask, model=run.model, version=run.version)
        cache = self.project.cache
        keys = [key_of(fingerprint(asks.request(row), model_version=run.version)) for row in rows]
        return [cache.get(run.plan["cache"], key) for key in keys]

    def assert_whole(self, run: Run, count: int = 100) -> RunReport:
        """Every question has one answer, paid once, and nothing else is booked or reserved."""
        report = self.report(run)
        account = report.account
        assert (account.answered, account.to_do) == (count, 0), report.to_json()
        assert None not in self.cached(run, questions(count))
        entries = self.project.cache.stats(run.plan["cache"]).current
        assert entries is not None
        assert entries.entries == count
        self.assert_paid()
        return report

    def assert_paid(self) -> None:
        assert self.spent() == self.billed()
        assert self.reserved() == 0

    def close(self) -> None:
        self.sandbox.faults()
        self.project.close()
