"""A second job under one key is cancelled or watched to its end, and booked, whatever happens."""

from __future__ import annotations

import pytest
from engine_kit import Crash, KitBackend, World
from test_sending import frozen_at

from understudy.data import Dataset
from understudy.errors import InvalidData
from understudy.model import Absent, NotYet
from understudy.store import Store
from understudy.testing.fakes import FakeHTTPError


class NoCancelBackend(KitBackend):
    cancel = None  # type: ignore[assignment]


def let_all_end(world: World) -> None:
    for _ in range(2):
        for _ in range(40):
            world.step_to_next()
        world.clock.advance(9000)
    world.drain()


def check_both_are_booked(world: World, job: str) -> None:
    assert world.state(job) == "ready"
    assert len(world.provider.jobs) == 2
    assert world.events(job).count("surplus") == 1
    assert world.spent() == world.provider.bill_nanos
    assert world.reserved() == 0


def sender_that_dies_after_a_second_create(world: World) -> None:
    worker = frozen_at(world, "train.before-post", rounds=2)
    reach = worker._engine.reach

    def die(label: str) -> None:
        if label == "train.after-reply":
            raise Crash(label)
        reach(label)

    worker._engine.reach = die
    with pytest.raises(Crash):
        worker.drain()


def test_it_is_looked_for_also_after_a_job_that_ended_at_once(world: World) -> None:
    world.provider.script = ((0, "running"), (5, "succeeded"))
    job = world.submit()
    sender_that_dies_after_a_second_create(world)
    world.provider.script = ((0, "running"), (100, "succeeded"))
    let_all_end(world)
    check_both_are_booked(world, job)
    assert world.provider.live_jobs() == [world.remote(job)]


def test_one_that_cannot_be_cancelled_is_booked_when_it_has_ended(
    store: Store, dataset: Dataset
) -> None:
    world = World(store, dataset, cls=NoCancelBackend)
    world.provider.script = ((0, "running"), (1000, "succeeded"))
    job = world.submit()
    frozen_at(world, "train.before-post").drain()
    let_all_end(world)
    check_both_are_booked(world, job)
    assert len(world.provider.live_jobs()) == 2


@pytest.mark.parametrize("status", [503, 401])
def test_a_cancel_that_fails_is_tried_again(world: World, status: int) -> None:
    world.provider.script = ((0, "running"), (5000, "succeeded"))
    job = world.submit()
    cancel, failed = world.backend.cancel, []

    def flaky(handle: object) -> None:
        if len(failed) < 10:
            failed.append(handle)
            raise world.backend._error(FakeHTTPError(status, "no"))
        cancel(handle)  # type: ignore[arg-type]

    world.backend.cancel = flaky  # type: ignore[method-assign,assignment]
    # It wakes after the winner's one more look, so nobody else would find what it made.
    frozen_at(world, "train.before-post", rounds=20).drain()
    let_all_end(world)
    check_both_are_booked(world, job)
    assert world.provider.live_jobs() == [world.remote(job)]


def test_a_cancel_that_is_refused_does_not_stop_the_job(world: World) -> None:
    world.provider.script = ((0, "running"), (1000, "succeeded"))
    job = world.submit()

    def refuse(_handle: object) -> None:
        raise InvalidData("it cannot be cancelled any more")

    world.backend.cancel = refuse  # type: ignore[method-assign,assignment]
    sender_that_dies_after_a_second_create(world)
    let_all_end(world)
    check_both_are_booked(world, job)


def test_a_provider_that_cannot_tell_yet_is_asked_once_more_again(world: World) -> None:
    world.provider.script = ((0, "running"), (1000, "succeeded"))
    world.submit()
    world.drain()
    asked: list[float] = []

    def find(_key: str, _files: object) -> object:
        asked.append(world.clock.now())
        return NotYet(retry_after=50) if len(asked) < 3 else Absent()

    world.backend.find = find  # type: ignore[method-assign,assignment]
    let_all_end(world)
    assert len(asked) == 3
