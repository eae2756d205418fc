"""A job that the provider does not know any more: a person is asked, and can close it."""

from __future__ import annotations

from engine_kit import World

from understudy.engine import commands


def lose(world: World) -> str:
    world.provider.script = ((0, "running"), (1000, "succeeded"))
    job = world.submit()
    assert world.run_to(job, "running") == "running"
    world.provider.jobs.clear()
    return job


def test_it_needs_attention_and_is_not_called_failed(world: World) -> None:
    job = lose(world)
    assert world.run_to(job) == "needs_attention"
    assert "remote_failed" not in world.events(job)


def test_cancelling_closes_it_and_gives_the_reservation_back(world: World) -> None:
    job = lose(world)
    assert world.run_to(job) == "needs_attention"
    commands.cancel(world.engine, job)
    assert world.run_to(job) == "cancelled"
    assert world.reserved() == 0
