"""Leases and locks: a worker that is stopping keeps its work, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from engine_kit import Crash, World, crash_at

from understudy.clock import SystemClock
from understudy.engine import Worker, adopting, commands, jobs, operations
from understudy.engine.training import TrainStarter
from understudy.errors import ConfigError
from understudy.states import Event
from understudy.store import schema


def test_a_worker_that_is_told_to_stop_keeps_the_lease_of_its_last_step(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = 0.03
    world.clock.speed = 1.0  # the keeper of leases waits in real time
    world.engine.timing = replace(world.engine.timing, lease=lease)
    job = world.submit()
    worker = Worker(world.engine, concurrency=1)
    upload, others = world.backend.upload, []
    extend, extended = operations.extend, threading.Semaphore(0)

    def noted(*args: object, **kwargs: object) -> None:
        extend(*args, **kwargs)  # type: ignore[arg-type]
        extended.release()

    def nearly_a_lease_passes() -> None:
        world.clock.advance(lease * 0.9)
        while extended.acquire(blocking=False):
            pass
        for _ in range(2):  # the first may have begun before the clock moved
            assert extended.acquire(timeout=20), "nobody keeps the lease"

    def slow(spec: object, *, key: str) -> object:
        worker.stop()
        for _ in range(3):
            nearly_a_lease_passes()
        others.append(
            operations.claim(
                world.store,
                owner="other",
                now=world.clock.now(),
                lease=1,
                limit=1,
                watched=False,
            )
        )
        return upload(spec, key=key)  # type: ignore[arg-type]

    monkeypatch.setattr(operations, "extend", noted)
    world.backend.upload = slow  # type: ignore[method-assign,assignment]
    worker.run()
    assert others == [[]]
    assert world.op(job, "upload").status == "live"


def _until_it_waits(world: World, begun: threading.Event) -> None:
    """Until the other's transaction waits for a lock of this one's."""
    assert begun.wait(20)
    if world.store.engine.dialect.name == "sqlite":
        return  # one writer: it can only wait
    deadline = time.monotonic() + 20
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with world.store.engine.connect() as connection:
        while not connection.exec_driver_sql(waiting).scalar_one():
            assert time.monotonic() < deadline, "it never came to wait"


def test_closing_a_job_that_never_started_and_a_command_do_not_lock_each_other_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.submit()
    with pytest.raises(Crash):
        world.make_worker("w", crash_at("train.after-intent")).drain()
    commands.cancel(world.engine, job)
    errors: list[str] = []
    begun = threading.Event()

    def command() -> None:
        begun.set()
        try:
            with world.store.write() as tx:
                operations.lock_job(tx, job)
                jobs.apply(tx, job, Event.CANCEL, at=1.0, cause="test")
        except Exception as error:  # noqa: BLE001 - looked at below
            errors.append(type(error).__name__)

    thread = threading.Thread(target=command)
    never_started = TrainStarter.never_started

    def slow(self: TrainStarter, *args: object) -> bool:
        closed = never_started(self, *args)  # type: ignore[arg-type]
        thread.start()
        _until_it_waits(world, begun)
        return closed

    monkeypatch.setattr(TrainStarter, "never_started", slow)
    world.drain()
    thread.join(20)
    assert errors == ["IllegalTransition"]
    assert world.state(job) == "cancelled"
    assert [row["failures"] for row in world.rows(schema.operations)] == [0, 0]


def test_a_worker_outlives_a_store_that_is_away_while_it_is_idle(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.engine.clock = SystemClock()
    next_due, looks = operations.next_due, []

    def away_at_first(*args: object, **kwargs: object) -> float | None:
        looks.append(args)
        if len(looks) == 1:
            raise ConnectionError("the store is away")
        return next_due(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(operations, "next_due", away_at_first)
    begun = time.monotonic()
    Worker(world.engine, concurrency=1).run(
        until=lambda: len(looks) > 1 or time.monotonic() > begun + 10
    )
    assert len(looks) > 1


def test_two_that_adopt_one_remote_job_at_once_do_not_both_get_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = world.job(world.submit()).plan.spec
    remote = world.backend.create(spec, world.backend.upload(spec, key="x"), key="x").id
    plan = world.job(world.submit()).plan
    reserve, found = adopting._reserve, []

    both_here = threading.Barrier(2)

    def slow(*args: object) -> None:
        with suppress(threading.BrokenBarrierError):
            both_here.wait(1)
        reserve(*args)  # type: ignore[arg-type]

    def adopt(run_key: str) -> None:
        try:
            adopting.adopt(
                world.engine,
                plan=plan,
                backend="fake",
                dataset_id="x",
                run_key=run_key,
                remote_id=remote,
            )
            found.append("adopted")
        except ConfigError:
            found.append("refused")

    monkeypatch.setattr(adopting, "_reserve", slow)
    threads = [threading.Thread(target=adopt, args=(f"adopted-{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(found) == ["adopted", "refused"]
