"""A job's whole way, undisturbed."""

from __future__ import annotations

import pytest
from engine_kit import TRAIN, KitBackend, OnePollBackend, World

from understudy.data import Dataset
from understudy.engine import Worker
from understudy.store import Store, registry, schema


def test_a_good_student_is_ready_and_takes_the_alias(world: World) -> None:
    job = world.submit()
    assert world.run_to(job) == "ready"
    history = world.history(job)
    assert [(one.from_state, one.to_state) for one in history] == [
        ("created", "uploading"),
        ("uploading", "submitting"),
        ("submitting", "queued"),
        ("queued", "running"),
        ("running", "registering"),
        ("registering", "evaluating"),
        ("evaluating", "ready"),
    ]
    assert len(world.provider.jobs) == 1
    with world.store.read() as tx:
        assert registry.alias_target(tx, "live") == "triage@1"
        version = registry.get_model(tx, "live")
    assert version.lineage["job"] == job
    assert version.lineage["dataset"] == world.dataset.id
    assert world.job(job).model_id == "triage@1"
    report = world.report("triage@1")
    assert report.verdict.passed
    assert [(one.subject, one.interval.mean) for one in report.subjects] == [("student", 1.0)]


def test_a_bad_student_is_rejected_and_the_alias_stays(world: World) -> None:
    world.provider.answer = lambda _model, _question: "nonsense"
    job = world.submit()
    assert world.run_to(job) == "rejected"
    with world.store.read() as tx:
        assert registry.alias_target(tx, "live") is None
        assert registry.history(tx, "triage@1")[0]["passed"] is False
    assert world.history(job)[-1].cause


def test_the_ledger_is_the_bill_and_nothing_stays_reserved(world: World) -> None:
    job = world.submit(evaluation={"compare_base": True})
    world.run_to(job)
    assert world.spent() == world.provider.bill_nanos
    assert world.reserved() == 0
    lines = {row["kind"]: row for row in world.rows(schema.ledger)}
    assert lines["train"]["spent_nanos"] == world.dataset.rows("train").tokens * 3 * TRAIN
    assert {row["status"] for row in lines.values()} == {"settled"}
    assert world.rows(schema.asked) == []


def test_money_is_reserved_before_anything_paid_is_sent(world: World) -> None:
    seen: list[int] = []
    world.provider.paid_requests = 0
    create = world.provider.create
    world.provider.create = lambda *args: (seen.append(world.reserved()), create(*args))[1]  # type: ignore[method-assign]
    world.submit()
    world.drain()
    assert seen == [world.dataset.rows("train").tokens * 3 * TRAIN + 10**6]


@pytest.mark.parametrize("cls", [KitBackend, OnePollBackend])
def test_jobs_side_by_side_reach_their_own_ends(
    store: Store, dataset: Dataset, cls: type[KitBackend]
) -> None:
    world = World(store, dataset, cls=cls)
    found = [world.submit(name=f"n{number}", alias=None) for number in range(4)]
    world.drain()
    world.provider.force(world.remote(found[1]), "failed")
    world.provider.force(world.remote(found[2]), "cancelled")
    for job in found:
        world.run_to(job)
    assert [world.state(job) for job in found] == ["ready", "failed", "cancelled", "ready"]
    assert len(world.provider.jobs) == 4
    assert world.spent() == world.provider.bill_nanos


def test_live_jobs_are_looked_at_together(world: World) -> None:
    found = [world.submit(alias=None) for _ in range(5)]
    world.drain()
    world.clock.advance(6)
    before = world.provider.requests
    world.drain()
    assert world.provider.requests - before <= 2
    assert {world.state(job) for job in found} == {"queued"}


def test_looks_become_rarer_while_nothing_changes(world: World) -> None:
    world.provider.script = ((0, "running"),)
    world.submit()
    world.drain()
    gaps = []
    for _ in range(40):
        before = world.clock.now()
        assert world.step_to_next()
        gaps.append(world.clock.now() - before)
    assert max(gaps) <= 180.1
    assert sum(gaps[-5:]) > 5 * sum(gaps[:5])


def test_a_worker_for_one_job_leaves_the_others_alone(world: World) -> None:
    mine, other = world.submit(alias=None), world.submit(alias=None)
    Worker(world.engine, job_id=mine).drain()
    assert world.state(mine) == "queued"
    assert world.state(other) == "created"


def test_a_model_that_says_no_token_count_is_booked_at_its_estimate(world: World) -> None:
    view = world.provider._view
    world.provider._view = lambda job: view(job) | {"trained_tokens": None}  # type: ignore[method-assign]
    job = world.submit(alias=None)
    world.run_to(job)
    line = next(row for row in world.rows(schema.ledger) if row["kind"] == "train")
    assert line["spent_nanos"] == world.dataset.rows("train").tokens * 3 * TRAIN
    assert "no token count" in line["note"]
