"""An evaluation that asks by batch: the same shards and operations, the same verdict."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fault_kit import Bench, Provider

from understudy.backend import Support
from understudy.engine import commands
from understudy.errors import ConfigError
from understudy.store import registry, schema

CHAT = "chat.completions.create"


@pytest.fixture
def bench(asked: Provider, sqlite_template: Path, tmp_path: Path) -> Iterator[Bench]:
    path = tmp_path / "understudy.db"
    shutil.copy(sqlite_template, path)
    made = Bench(asked, tmp_path, f"sqlite:///{path}")
    made.engine.batch_root = tmp_path / "batches"
    yield made
    made.close()


def judged(bench: Bench, job: str) -> dict[str, Any]:
    with bench.project.store.read() as tx:
        (model,) = registry.list_models(tx)
        report: dict[str, Any] = registry.history(tx, model.id)[0]["report"]
    return report


def evaluation(**changes: Any) -> dict[str, Any]:
    values = {"bar": 0.1, "max_rows": 6, "compare_base": True, "concurrency": 1, "ask": "batch"}
    return values | changes


def test_it_asks_by_batch_and_pays_half(bench: Bench) -> None:
    before = bench.provider.requests("batches.create"), bench.provider.requests(CHAT)
    job = bench.start(evaluation=evaluation())
    assert bench.run_to(job) == "ready"
    report = judged(bench, job)
    assert [one["subject"] for one in report["subjects"]][:2] == ["student", "base"]
    assert all(one["answered"] == 6 for one in report["subjects"])
    assert bench.provider.requests("batches.create") - before[0] == 2
    # Registration alone asks live: whether the model answers at all.
    assert bench.provider.requests(CHAT) - before[1] <= 1
    bench.assert_paid_once()
    with bench.project.store.read() as tx:
        costs = tx.execute(sa.select(schema.answers.c.cost_nanos)).scalars().all()
    assert min(costs) > 0


def test_a_rows_refusal_is_an_answer_without_reply(bench: Bench) -> None:
    bench.faults({"on": "batches.create", "do": "filter_rows", "fraction": 0.5})
    job = bench.start(evaluation=evaluation(compare_base=False))
    assert bench.run_to(job) in {"ready", "rejected"}
    (student,) = judged(bench, job)["subjects"]
    assert student["answered"] + student["failed"] == 6
    assert 0 < student["failed"] < 6
    bench.assert_paid_once()


def test_a_batch_that_is_refused_stops_the_job_and_its_retry_goes_on(bench: Bench) -> None:
    bench.faults({"on": "batches.create", "do": "error", "status": 401})
    job = bench.start(evaluation=evaluation(compare_base=False))
    assert bench.run_to(job) == "needs_attention"
    commands.retry(bench.engine, job)
    assert bench.run_to(job) == "ready"
    bench.assert_paid_once()
    assert bench.spent() > Decimal(0)


def test_a_backend_without_batches_is_refused_before_anything_is_made(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = bench.project.capabilities("openai")
    without = replace(found, batch=Support.no("it has none"))
    monkeypatch.setattr(bench.project, "capabilities", lambda _name: without)
    with pytest.raises(ConfigError, match='it has none; take ask = "live"'):
        bench.prepare(evaluation=evaluation())
