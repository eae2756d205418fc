"""A person's word on a submission in doubt loses no paid job and starts none that is not wanted."""

from __future__ import annotations

import pytest
from engine_kit import NoFindBackend, World

from understudy.backend import Support
from understudy.data import Dataset
from understudy.engine import commands
from understudy.errors import ConfigError
from understudy.store import Store
from understudy.testing.fakes import FakeConnectionError, FakeHTTPError


@pytest.fixture
def blind(store: Store, dataset: Dataset) -> World:
    """A backend that cannot search; its jobs take a while."""
    world = World(store, dataset, cls=NoFindBackend)
    world.provider.script = ((0, "running"), (1000, "succeeded"))
    return world


def in_doubt(world: World) -> str:
    job = world.submit()
    world.provider.fail(FakeConnectionError("cut"), creates_only=True)
    assert world.run_to(job) == "needs_attention"
    return job


def stopped_while_live(world: World) -> str:
    job = world.submit()
    world.run_to(job, "running")
    world.provider.fail(FakeHTTPError(401, "no"))
    assert world.run_to(job) == "needs_attention"
    return job


def test_a_cancelled_job_that_is_not_there_is_closed_and_not_submitted_again(blind: World) -> None:
    job = in_doubt(blind)
    commands.cancel(blind.engine, job)
    assert blind.run_to(job) == "needs_attention"
    assert commands.retry(blind.engine, job, resubmit=True).value == "cancelling"
    assert blind.run_to(job) == "cancelled"
    assert blind.provider.paid_requests == 1
    assert blind.reserved() == 0


def test_a_job_that_the_provider_has_is_not_submitted_again(blind: World) -> None:
    job = stopped_while_live(blind)
    with pytest.raises(ConfigError, match="a second one would be paid for too"):
        commands.retry(blind.engine, job, resubmit=True)
    commands.retry(blind.engine, job)
    assert blind.run_to(job) == "ready"
    assert blind.provider.paid_requests == 1


def test_a_job_that_the_provider_has_no_more_is_submitted_again(blind: World) -> None:
    job = stopped_while_live(blind)
    blind.provider.jobs.clear()
    assert commands.retry(blind.engine, job, resubmit=True).value == "submitting"
    assert blind.run_to(job) == "ready"


def test_attach_does_not_forget_the_job_that_is_there(blind: World) -> None:
    job = stopped_while_live(blind)
    spec = blind.job(job).plan.spec
    other = blind.backend.create(spec, blind.backend.upload(spec, key="x"), key="x").id
    with pytest.raises(ConfigError, match="run on unwatched"):
        commands.attach(blind.engine, job, other)
    commands.attach(blind.engine, job, blind.remote(job))
    assert blind.run_to(job) == "ready"


def test_attach_takes_no_job_that_belongs_to_another(blind: World) -> None:
    first = blind.submit()
    blind.run_to(first, "running")
    job = in_doubt(blind)
    with pytest.raises(ConfigError, match=f"belongs to {first}"):
        commands.attach(blind.engine, job, blind.remote(first))


def test_what_was_never_submitted_can_be_cancelled_on_any_backend(world: World) -> None:
    world.capable(cancel=Support.no("the provider has no such call"))
    world.budget(1000)
    job = world.submit()
    assert world.run_to(job) == "needs_attention"
    commands.cancel(world.engine, job)
    assert world.run_to(job) == "cancelled"
