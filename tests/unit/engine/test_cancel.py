"""Cancel, at every stage of a job."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from engine_kit import Crash, World, crash_at

from understudy.engine import Worker, commands, jobs, operations
from understudy.errors import ConfigError, IllegalTransition
from understudy.states import Event
from understudy.testing.fakes import FakeHTTPError


def cancel(world: World, job: str) -> None:
    commands.cancel(world.engine, job)


def test_created(world: World) -> None:
    job = world.submit()
    cancel(world, job)
    assert world.run_to(job) == "cancelled"
    assert world.provider.files == {}


def test_uploading(world: World) -> None:
    job = world.submit()
    worker = world.make_worker("w", crash_at("upload.stored"))
    with pytest.raises(Crash):
        worker.drain()
    cancel(world, job)
    assert world.run_to(job) == "cancelled"
    assert world.provider.paid_requests == 0
    assert world.events(job)[-2:] == ["cancel", "never_started"]


def test_submitting_before_anything_was_sent(world: World) -> None:
    job = world.submit()
    with pytest.raises(Crash):
        world.make_worker("w", crash_at("train.after-intent")).drain()
    assert world.reserved() > 0
    cancel(world, job)
    assert world.run_to(job) == "cancelled"
    assert world.provider.paid_requests == 0
    assert world.reserved() == 0


def test_submitting_while_the_request_is_out(world: World) -> None:
    job = world.submit()

    def reach(label: str) -> None:
        if label == "train.before-post":
            cancel(world, job)

    world.make_worker("w", reach).drain()
    assert world.run_to(job) == "cancelled"
    assert world.provider.live_jobs() == []
    assert len(world.provider.jobs) == 1


def test_submitting_after_a_crash_with_a_job_out_there(world: World) -> None:
    world.provider.script = ((0, "running"), (1000, "succeeded"))
    job = world.submit()
    with pytest.raises(Crash):
        world.make_worker("w", crash_at("train.after-reply")).drain()
    cancel(world, job)
    assert world.run_to(job) == "cancelled"
    assert world.provider.live_jobs() == []
    assert len(world.provider.jobs) == 1


def test_submitting_after_a_crash_with_nothing_out_there(world: World) -> None:
    job = world.submit()
    with pytest.raises(Crash):
        world.make_worker("w", crash_at("train.before-post")).drain()
    cancel(world, job)
    assert world.run_to(job) == "cancelled"
    assert world.provider.paid_requests == 0
    assert world.reserved() == 0


@pytest.mark.parametrize("state", ["queued", "running", "paused"])
def test_at_the_provider(world: World, state: str) -> None:
    job = world.submit()
    world.drain()
    world.provider.force(world.remote(job), state)
    world.run_to(job, state)
    cancel(world, job)
    assert world.state(job) == "cancelling"
    world.drain()
    assert world.state(job) == "cancelled"
    assert world.provider.live_jobs() == []
    assert world.reserved() == 0


def test_needs_attention(world: World) -> None:
    job = world.submit()
    world.run_to(job, "running")
    world.provider.fail(FakeHTTPError(401, "no"))
    world.run_to(job)
    assert world.state(job) == "needs_attention"
    cancel(world, job)
    assert world.run_to(job) == "cancelled"


def test_one_that_came_too_late_ends_with_the_model(world: World) -> None:
    job = world.submit()
    world.run_to(job, "running")
    world.clock.advance(100)
    cancel(world, job)
    assert world.run_to(job) == "ready"
    assert world.spent() == world.provider.bill_nanos


def test_after_success_it_is_refused(world: World) -> None:
    job = world.submit()
    with pytest.raises(Crash):
        while world.state(job) != "registering":
            world.worker = world.make_worker("w", crash_at("register.start"))
            world.step_to_next()
            world.drain()
    with pytest.raises(ConfigError, match="registering is next: it goes on by itself"):
        cancel(world, job)
    world.worker = world.make_worker("w2")
    assert world.run_to(job) == "ready"


@pytest.mark.parametrize("stage", ["registering", "evaluating"])
def test_what_is_trained_and_needs_attention_is_retried_not_cancelled(
    world: World, stage: str
) -> None:
    job = world.submit()
    world.run_to(job, "running")
    world.clock.advance(100)
    if stage == "registering":
        with pytest.raises(Crash):
            world.make_worker("w", crash_at("register.start")).drain()
        world.provider.secret = "sk-another-key-entirely"
    else:
        world.dataset.file("test").rename(world.dataset.path / "away")
    try:
        world.run_to(job, "needs_attention")
    finally:
        if stage == "evaluating":
            (world.dataset.path / "away").rename(world.dataset.file("test"))
    with pytest.raises(ConfigError, match="retry"):
        cancel(world, job)
    world.provider.secret = "sk-fake-0123456789abcdef"
    commands.retry(world.engine, job)
    assert world.run_to(job) == "ready"


def test_an_ended_job_cannot_be_cancelled(world: World) -> None:
    job = world.submit()
    world.run_to(job)
    with pytest.raises(IllegalTransition, match="it has ended"):
        cancel(world, job)


def test_a_backend_that_cannot_cancel_says_why(world: World) -> None:
    from understudy.backend import Support

    world.capable(cancel=Support.no("the provider has no such call"))
    job = world.submit()
    world.drain()
    with pytest.raises(ConfigError, match="no such call"):
        cancel(world, job)
    assert world.run_to(job) == "ready"


def test_an_expired_key_does_not_lose_the_wish(world: World) -> None:
    job = world.submit()
    world.run_to(job, "running")
    cancel(world, job)
    world.provider.fail(FakeHTTPError(401, "no"))
    world.drain()
    assert world.state(job) == "needs_attention"
    commands.retry(world.engine, job)
    assert world.run_to(job) == "cancelled"
    assert world.provider.live_jobs() == []


def test_a_wish_made_during_a_look_is_granted_at_once(world: World) -> None:
    job = world.submit(alias=None)
    world.run_to(job, "running")
    world.provider.script = ((0, "running"),)
    poll = world.backend.poll

    def slow_poll(handle: object) -> object:
        status = poll(handle)  # type: ignore[arg-type]
        if world.state(job) == "running":
            cancel(world, job)
        return status

    world.backend.poll = slow_poll  # type: ignore[method-assign,assignment]
    world.step_to_next()
    assert world.provider.live_jobs() == []


def test_a_second_wish_made_while_the_first_is_granted_is_not_lost(world: World) -> None:
    job = world.submit(alias=None)
    world.run_to(job, "running")
    pause = world.backend.pause

    def slow_pause(handle: object) -> None:
        pause(handle)  # type: ignore[arg-type]
        cancel(world, job)

    world.backend.pause = slow_pause  # type: ignore[method-assign,assignment]
    commands.pause(world.engine, job)
    assert world.run_to(job) == "cancelled"
    assert world.provider.live_jobs() == []


def test_a_command_and_a_worker_do_not_lock_each_other_out(world: World) -> None:
    job = world.submit(alias=None)
    world.drain()
    op = world.op(job)
    errors: list[Exception] = []
    reached = threading.Event()
    here = threading.get_ident()

    def look(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if threading.get_ident() != here and "UPDATE" in statement:
            reached.set()
        if threading.get_ident() != here and statement.startswith("BEGIN IMMEDIATE"):
            reached.set()

    def command() -> None:
        try:
            cancel(world, job)
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)

    sa.event.listen(world.store.engine, "before_cursor_execute", look)
    thread = threading.Thread(target=command)
    with world.store.write() as tx:
        operations.save(tx, op, at=world.clock.now())
        thread.start()
        assert reached.wait(10)
        jobs.apply(tx, job, Event.REMOTE_RUNNING, at=world.clock.now(), cause="test")
    thread.join(20)
    sa.event.remove(world.store.engine, "before_cursor_execute", look)
    assert not thread.is_alive()
    assert errors == []
    assert world.state(job) == "cancelling"


def test_a_worker_for_another_job_does_not_act_on_it(world: World) -> None:
    job, other = world.submit(alias=None), world.submit(alias=None)
    world.drain()
    cancel(world, job)
    Worker(world.engine, job_id=other).drain()
    assert world.state(job) == "cancelling"
    world.drain()
    assert world.state(job) == "cancelled"
