"""What the provider says, and what the job becomes."""

from __future__ import annotations

import pytest
from engine_kit import World

from understudy.engine import jobs
from understudy.store import schema


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        ("validating_files", "queued"),
        ("queued", "queued"),
        ("running", "running"),
        ("paused", "paused"),
        ("cancelling", "cancelling"),
        ("cancelled", "cancelled"),
        ("failed", "failed"),
    ],
)
def test_each_status_leads_to_its_state(world: World, raw: str, state: str) -> None:
    job = world.submit()
    world.drain()
    world.provider.force(world.remote(job), raw)
    world.step_to_next()
    assert world.state(job) == state


def test_a_failed_job_keeps_the_providers_reason_and_gives_the_money_back(world: World) -> None:
    job = world.submit()
    world.drain()
    world.provider.force(world.remote(job), "failed")
    assert world.run_to(job) == "failed"
    assert world.job(job).problem == {
        "message": "it broke",
        "code": "boom",
        "param": None,
        "stage": "training",
    }
    assert world.reserved() == 0
    assert world.spent() == 0
    assert world.history(job)[-1].event == "remote_failed"


def test_a_job_cancelled_by_somebody_else_is_cancelled_not_failed(world: World) -> None:
    job = world.submit()
    world.run_to(job, "running")
    world.provider.force(world.remote(job), "cancelled")
    assert world.run_to(job) == "cancelled"
    assert world.reserved() == 0


def test_an_unknown_status_is_noted_once_and_polling_goes_on(world: World) -> None:
    job = world.submit(alias=None)
    world.run_to(job, "running")
    remote = world.remote(job)
    world.provider.force(remote, "fancy_new_status")
    for _ in range(6):
        world.step_to_next()
    assert world.state(job) == "running"
    notes = [event for event in world.history(job) if event.event == "unknown_status"]
    assert len(notes) == 1
    assert "'fancy_new_status'" in notes[0].cause
    assert (notes[0].from_state, notes[0].to_state) == ("running", "running")
    world.provider.force(remote, "succeeded")
    assert world.run_to(job) == "ready"


def test_the_outcome_is_stored_before_the_next_stage_starts(world: World) -> None:
    job = world.submit()
    world.run_to(job, "running")
    seen: list[str] = []
    model = world.backend.model
    world.backend.model = lambda handle: (seen.append(world.state(job)), model(handle))[1]  # type: ignore[method-assign]
    world.run_to(job)
    assert seen[0] == "registering"
    assert world.op(job).status == "done"


def test_after_success_local_trouble_never_fails_the_job(world: World) -> None:
    job = world.submit()
    world.run_to(job, "running")

    def broken(_handle: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    world.backend.model = broken  # type: ignore[method-assign,assignment]
    assert world.run_to(job) == "needs_attention"
    assert world.job(job).stage is not None
    assert world.job(job).stage.value == "registering"
    assert "ZeroDivisionError" in str(world.job(job).problem)
    del world.backend.model  # type: ignore[attr-defined]
    from understudy.engine import commands

    commands.retry(world.engine, job)
    assert world.run_to(job) == "ready"
    assert len(world.provider.jobs) == 1


def test_a_refused_file_fails_the_job_before_money(world: World) -> None:
    world.provider.rejects_files = True
    job = world.submit()
    assert world.run_to(job) == "failed"
    assert world.provider.paid_requests == 0
    assert world.rows(schema.ledger) == []
    assert "refused the file" in str(world.job(job).problem)


def test_history_replays_to_the_state(world: World) -> None:
    found = [world.submit(alias=None), world.submit(alias=None)]
    world.drain()
    world.provider.force(world.remote(found[1]), "fancy")
    for job in found:
        if job == found[1]:
            world.step_to_next()
            world.provider.force(world.remote(job), "failed")
        world.run_to(job)
    for job in found:
        state = "created"
        for event in world.history(job):
            assert event.from_state == state
            state = event.to_state
        assert state == world.state(job)
    with world.store.read() as tx:
        assert {one.id for one in jobs.list_jobs(tx)} == set(found)
        assert [one.id for one in jobs.list_jobs(tx, state="failed")] == [found[1]]
