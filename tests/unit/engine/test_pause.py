from __future__ import annotations

import pytest
from engine_kit import World

from understudy.backend import Support
from understudy.engine import commands
from understudy.errors import ConfigError, IllegalTransition, InvalidData


def test_a_job_is_paused_and_goes_on(world: World) -> None:
    job = world.submit()
    world.run_to(job, "running")
    commands.pause(world.engine, job)
    assert world.state(job) == "pausing"
    world.drain()
    assert world.state(job) == "paused"
    world.clock.advance(10_000)
    world.drain()
    assert world.state(job) == "paused"
    commands.resume(world.engine, job)
    assert world.state(job) == "resuming"
    assert world.run_to(job) == "ready"
    assert [e for e in world.events(job) if "paus" in e or "resum" in e] == [
        "pause",
        "remote_paused",
        "resume",
    ]


def test_pausing_twice_is_refused(world: World) -> None:
    job = world.submit()
    world.run_to(job, "running")
    commands.pause(world.engine, job)
    with pytest.raises(IllegalTransition, match="pausing"):
        commands.pause(world.engine, job)
    with pytest.raises(IllegalTransition):
        commands.resume(world.engine, job)


@pytest.mark.parametrize(
    ("wish", "before", "after"), [("pause", "running", "running"), ("resume", "paused", "paused")]
)
def test_a_wish_that_the_provider_refuses_is_taken_back(
    world: World, wish: str, before: str, after: str
) -> None:
    job = world.submit()
    world.run_to(job, "running")
    if before == "paused":
        commands.pause(world.engine, job)
        world.drain()

    def refuses(_handle: object) -> None:
        raise InvalidData(f"this model cannot {wish}")

    setattr(world.backend, wish, refuses)
    getattr(commands, wish)(world.engine, job)
    world.drain()
    assert world.state(job) == after
    refusal = next(e for e in world.history(job) if e.event == "wish_refused")
    assert f"this model cannot {wish}" in refusal.cause
    assert world.op(job).wish is None


def test_a_refused_cancel_leaves_the_job_running(world: World) -> None:
    job = world.submit()
    world.run_to(job, "running")

    def refuses(_handle: object) -> None:
        raise InvalidData("too late for that")

    world.backend.cancel = refuses  # type: ignore[method-assign,assignment]
    commands.cancel(world.engine, job)
    world.drain()
    assert world.state(job) == "running"
    assert world.run_to(job) == "ready"


def test_a_backend_that_cannot_pause_says_why(world: World) -> None:
    world.capable(pause=Support.no("jobs run through"))
    job = world.submit()
    world.run_to(job, "running")
    for command in (commands.pause, commands.resume):
        with pytest.raises(ConfigError, match="jobs run through"):
            command(world.engine, job)
    assert world.state(job) == "running"
