"""Job records: compare-and-set, the history, and looking them up."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from engine_kit import World

from understudy.engine import jobs
from understudy.errors import ConfigError, IllegalTransition, StaleRecord
from understudy.states import Event


def apply(world: World, job: str, event: Event, cause: str = "test") -> None:
    with world.store.write() as tx:
        jobs.apply(tx, job, event, at=1.0, cause=cause)


def test_an_illegal_event_changes_nothing(world: World) -> None:
    job = world.submit()
    with pytest.raises(IllegalTransition, match="created"):
        apply(world, job, Event.REMOTE_SUCCEEDED)
    assert world.state(job) == "created"
    assert world.history(job) == []
    assert world.job(job).version == 0


def test_every_transition_raises_the_version_and_adds_a_line(world: World) -> None:
    job = world.submit()
    for number, event in enumerate((Event.UPLOAD, Event.UPLOADED, Event.STUCK, Event.RETRY), 1):
        apply(world, job, event)
        assert world.job(job).version == len(world.history(job)) == number
    assert world.state(job) == "submitting"


def test_attention_remembers_its_stage_and_forgets_it_after(world: World) -> None:
    job = world.submit()
    apply(world, job, Event.UPLOAD)
    apply(world, job, Event.STUCK)
    record = world.job(job)
    assert record.stage is not None
    assert record.stage.value == "uploading"
    apply(world, job, Event.RETRY)
    assert world.job(job).stage is None


def test_of_two_writers_at_once_each_sees_the_others_state(world: World) -> None:
    job = world.submit()

    def one(_: int) -> bool:
        try:
            apply(world, job, Event.UPLOAD)
        except (IllegalTransition, StaleRecord):
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(one, range(12))) == 1
    assert len(world.history(job)) == 1


def test_a_write_between_read_and_write_is_seen(world: World) -> None:
    job = world.submit()
    if world.store.postgres:
        pytest.skip("PostgreSQL holds the row from the read on")
    with world.store.write() as tx:

        def interfere(_c: object, _cursor: object, statement: str, *_: object) -> None:
            if statement.startswith("UPDATE jobs") and "interfere" not in seen:
                seen.append("interfere")
                tx.exec_driver_sql(f"UPDATE jobs SET version = version + 1 WHERE id = '{job}'")

        seen: list[str] = []
        sa.event.listen(world.store.engine, "before_cursor_execute", interfere)
        with pytest.raises(StaleRecord):
            jobs.apply(tx, job, Event.UPLOAD, at=1.0, cause="test")
        sa.event.remove(world.store.engine, "before_cursor_execute", interfere)
    assert world.history(job) == []


def test_a_second_writer_waits_for_the_first(world: World) -> None:
    job = world.submit()
    began = threading.Event()
    outcome: list[str] = []

    def second() -> None:
        began.set()
        try:
            apply(world, job, Event.UPLOADED)
        except IllegalTransition:
            outcome.append("illegal")
        else:
            outcome.append("applied")

    thread = threading.Thread(target=second)
    with world.store.write() as tx:
        jobs.apply(tx, job, Event.UPLOAD, at=1.0, cause="first")
        thread.start()
        assert began.wait(10)
    thread.join(20)
    # It saw either the state before the first began, or the one after; never half of it.
    assert outcome in (["applied"], ["illegal"])
    assert world.state(job) == ("submitting" if outcome == ["applied"] else "uploading")


def test_causes_are_kept_without_secrets(world: World) -> None:
    job = world.submit()
    apply(world, job, Event.UPLOAD, cause="refused: https://x.test/a?sig=abc123 sk-live-12345678")
    (event,) = world.history(job)
    assert "sk-live" not in event.cause
    assert "abc123" not in event.cause
    assert "https://x.test/a" in event.cause


def test_a_note_is_not_a_transition(world: World) -> None:
    job = world.submit()
    with world.store.write() as tx:
        jobs.note(tx, job, "surplus", at=1.0, cause="seen", fields={"id": "x"})
    (event,) = world.history(job)
    assert (event.event, event.from_state, event.to_state) == ("surplus", "created", "created")
    assert world.job(job).version == 0


def test_a_job_is_found_by_the_beginning_of_its_id(world: World) -> None:
    job, _ = world.submit(), world.submit()
    assert world.job(job[:-1]).id == job
    with pytest.raises(ConfigError, match="several jobs"):
        world.job("job-")
    with pytest.raises(ConfigError, match="there is no job 'job_'"):
        world.job("job_")
    with pytest.raises(ConfigError, match="there is no job"):
        world.job("nonsense")


def test_a_repeat_of_a_run_is_the_newest_job(world: World) -> None:
    world.submit(run_key="run")
    second = world.submit(run_key="run#2")
    world.submit(run_key="running")
    with world.store.read() as tx:
        found = jobs.find_run(tx, "run")
        assert found is not None
        assert found.id == second
        assert jobs.find_run(tx, "ru") is None


def test_a_plan_comes_back_as_it_was(world: World) -> None:
    job = world.job(world.submit(recipe={"nested": {"list": [1, 2.5, None]}}))
    assert job.plan.recipe == {"nested": {"list": [1, 2.5, None]}}
    assert job.plan.spec.training == world.dataset.rows("train")
    assert job.plan.evaluation.max_rows == 4
