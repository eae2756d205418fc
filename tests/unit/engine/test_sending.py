"""Paid work is started once, whatever happens in between."""

from __future__ import annotations

from itertools import pairwise

import pytest
from engine_kit import Crash, NoFindBackend, World, crash_at

from understudy.data import Dataset
from understudy.engine import Worker, commands
from understudy.errors import ConfigError
from understudy.model import NotYet
from understudy.store import Store, schema
from understudy.testing.fakes import FakeConnectionError, FakeHTTPError

SETTLED = 30 + 10 + 30
"""Send window, request timeout and list lag of the fake: until then Absent is not believed."""
LOST = [FakeHTTPError(500, "oops"), FakeConnectionError("cut")]


def crash(world: World, label: str) -> None:
    with pytest.raises(Crash):
        world.make_worker("dead", crash_at(label)).drain()


@pytest.mark.parametrize("error", LOST)
def test_a_lost_reply_is_found_again(world: World, error: Exception) -> None:
    job = world.submit()
    world.provider.fail(error, creates_only=True, after=True)
    assert world.run_to(job) == "ready"
    assert world.provider.paid_requests == 1
    assert "found again by its key" in next(
        event.cause for event in world.history(job) if event.event == "attach"
    )


@pytest.mark.parametrize("lag", [0.0, 30.0])
def test_a_lost_reply_with_a_lagging_list_makes_one_job(world: World, lag: float) -> None:
    world.provider.list_lag = lag
    job = world.submit()
    world.provider.fail(FakeConnectionError("cut"), creates_only=True, after=True)
    assert world.run_to(job) == "ready"
    assert len(world.provider.jobs) == 1


@pytest.mark.parametrize("error", LOST)
def test_a_request_that_never_arrived_is_sent_again_but_not_too_early(
    world: World, error: Exception
) -> None:
    job = world.submit()
    world.provider.fail(error, creates_only=True)
    world.drain()
    begun = world.clock.now()
    while world.provider.paid_requests == 1:
        assert world.step_to_next()
    assert world.clock.now() - begun > SETTLED
    assert world.run_to(job) == "ready"
    assert len(world.provider.jobs) == 1
    assert world.op(job).attempt == 2


@pytest.mark.parametrize(
    ("label", "requests"),
    [
        ("train.before-intent", 1),
        ("train.after-intent", 1),
        ("train.sending-stored", 1),
        ("train.before-post", 1),
        ("train.after-reply", 1),
        ("train.stored", 1),
    ],
)
def test_a_crash_at_each_point_of_the_protocol_makes_one_job(
    world: World, label: str, requests: int
) -> None:
    job = world.submit()
    crash(world, label)
    assert world.run_to(job) == "ready"
    assert world.provider.paid_requests == requests
    assert len(world.provider.jobs) == 1
    assert world.spent() == world.provider.bill_nanos


def test_after_a_crash_nobody_else_acts_before_the_lease_ends(world: World) -> None:
    job = world.submit()
    crash(world, "train.before-post")
    world.clock.advance(179)
    assert world.worker.drain() == 0
    world.clock.advance(2)
    assert world.worker.drain() > 0
    assert world.run_to(job) == "ready"


def test_not_yet_is_asked_again_when_it_says(world: World) -> None:
    job = world.submit()
    world.provider.fail(FakeConnectionError("cut"), creates_only=True, after=True)
    find, asked = world.backend.find, []

    def later(key: str, files: object) -> object:
        asked.append(world.clock.now())
        return NotYet(retry_after=7) if len(asked) < 4 else find(key, files)  # type: ignore[arg-type]

    world.backend.find = later  # type: ignore[method-assign,assignment]
    assert world.run_to(job) == "ready"
    gaps = [round(b - a) for a, b in pairwise(asked[:4])]
    assert gaps == [7, 7, 7]
    assert world.provider.paid_requests == 1


@pytest.fixture
def blind(store: Store, dataset: Dataset) -> World:
    """A backend that cannot search."""
    return World(store, dataset, cls=NoFindBackend)


def test_a_backend_that_cannot_search_asks_a_person(blind: World) -> None:
    job = blind.submit()
    blind.provider.fail(FakeConnectionError("cut"), creates_only=True, after=True)
    assert blind.run_to(job) == "needs_attention"
    words = str(blind.job(job).problem)
    assert f"understudy jobs attach {job}" in words
    assert f"understudy jobs retry {job} --resubmit" in words
    (remote,) = blind.provider.jobs
    assert commands.attach(blind.engine, job, remote).value == "running"
    assert blind.run_to(job) == "ready"
    assert blind.provider.paid_requests == 1


def test_a_person_may_say_that_it_is_not_there(blind: World) -> None:
    job = blind.submit()
    blind.provider.fail(FakeConnectionError("cut"), creates_only=True)
    assert blind.run_to(job) == "needs_attention"
    commands.retry(blind.engine, job)
    assert blind.run_to(job) == "needs_attention"
    assert blind.provider.paid_requests == 1
    assert commands.retry(blind.engine, job, resubmit=True).value == "submitting"
    assert blind.run_to(job) == "ready"
    assert blind.provider.paid_requests == 2
    assert len(blind.provider.jobs) == 1


def test_attach_looks_at_the_job_first(blind: World) -> None:
    job = blind.submit()
    blind.provider.fail(FakeConnectionError("cut"), creates_only=True)
    blind.run_to(job)
    with pytest.raises(LookupError):
        commands.attach(blind.engine, job, "job-77")
    assert blind.state(job) == "needs_attention"


def test_resubmit_needs_a_submission_in_doubt(world: World) -> None:
    job = world.submit()
    world.provider.fail(FakeHTTPError(401, "no"))
    assert world.run_to(job) == "needs_attention"
    with pytest.raises(ConfigError, match="nothing to submit once more"):
        commands.retry(world.engine, job, resubmit=True)
    with pytest.raises(ConfigError, match="no submission to attach"):
        commands.attach(world.engine, job, made_by_hand(world, job))
    commands.retry(world.engine, job)
    assert world.run_to(job) == "ready"


def made_by_hand(world: World, job: str) -> str:
    """Id of a remote job that this engine did not make."""
    spec = world.job(job).plan.spec
    return world.backend.create(spec, world.backend.upload(spec, key="x"), key="x").id


def frozen_at(world: World, label: str, *, rounds: int = 4) -> Worker:
    """A worker that stops at ``label`` for longer than its lease while another takes over.

    The other one works for ``rounds`` times 15 s before the frozen one wakes.
    """
    done: list[str] = []

    def reach(at: str) -> None:
        if at == label and not done:
            done.append(at)
            world.clock.advance(200)
            for _ in range(rounds):
                world.drain()
                world.clock.advance(15)

    return world.make_worker("frozen", reach)


def test_a_sender_frozen_before_its_last_look_sends_nothing(world: World) -> None:
    world.provider.script = ((0, "running"), (1000, "succeeded"))
    job = world.submit()
    frozen_at(world, "train.sending-stored").drain()
    assert world.provider.paid_requests == 1
    assert world.run_to(job) == "ready"
    assert len(world.provider.jobs) == 1
    assert "surplus" not in world.events(job)


def test_a_sender_frozen_past_its_deadline_sends_nothing(world: World) -> None:
    job = world.submit()

    def reach(label: str) -> None:
        if label == "train.sending-stored":
            world.clock.advance(31)

    world.make_worker("late", reach).drain()
    assert world.provider.paid_requests == 0
    assert world.run_to(job) == "ready"
    assert world.provider.paid_requests == 1


def test_a_sender_frozen_before_its_request_makes_a_surplus_that_is_taken_back(
    world: World,
) -> None:
    world.provider.script = ((0, "running"), (1000, "succeeded"))
    job = world.submit()
    frozen_at(world, "train.before-post").drain()
    assert world.provider.paid_requests == 2
    assert world.run_to(job) == "ready"
    assert len(world.provider.jobs) == 2
    assert len(world.provider.live_jobs()) == 1
    assert world.provider.live_jobs() == [world.remote(job)]
    notes = [event for event in world.history(job) if event.event == "surplus"]
    assert len(notes) == 1
    assert notes[0].fields["id"] not in world.provider.live_jobs()
    assert world.spent() == world.provider.bill_nanos


def test_a_surplus_whose_sender_died_is_found_and_booked_once(world: World) -> None:
    world.provider.script = ((0, "running"), (1000, "succeeded"))
    job = world.submit()
    worker = frozen_at(world, "train.before-post", rounds=2)
    reach = worker._engine.reach

    def die(label: str) -> None:
        if label == "train.after-reply":
            raise Crash(label)
        reach(label)

    worker._engine.reach = die
    with pytest.raises(Crash):
        worker.drain()
    assert len(world.provider.live_jobs()) == 2
    assert world.run_to(job) == "ready"
    assert world.provider.live_jobs() == [world.remote(job)]
    assert world.events(job).count("surplus") == 1
    assert world.spent() == world.provider.bill_nanos


def test_one_more_look_follows_every_create(world: World) -> None:
    world.provider.script = ((0, "running"), (1000, "succeeded"))
    job = world.submit()
    world.drain()
    asked: list[float] = []
    find = world.backend.find
    world.backend.find = lambda *args: (asked.append(world.clock.now()), find(*args))[1]  # type: ignore[method-assign]
    begun = world.clock.now()
    assert world.run_to(job) == "ready"
    assert len(asked) == 1
    assert asked[0] - begun >= 40
    assert world.op(job).confirm_at is None


def test_the_upload_is_repeated_freely_and_makes_one_file(world: World) -> None:
    job = world.submit()
    for label in ("upload.before-send", "upload.after-reply", "upload.poll"):
        crash(world, label)
        world.clock.advance(181)
    assert world.run_to(job) == "ready"
    assert len(world.provider.files) == 1
    assert len(world.rows(schema.operations)) == 4
