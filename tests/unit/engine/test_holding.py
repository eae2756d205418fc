"""Leases and locks: a worker that is stopping keeps its work, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from engine_kit import Crash, World, crash_at

from understudy.clock import SystemClock
from understudy.engine import Worker, commands, jobs, operations
from understudy.engine.training import TrainStarter
from understudy.states import Event
from understudy.store import schema


def test_a_worker_that_is_told_to_stop_keeps_the_lease_of_its_last_step(world: World) -> None:
    world.engine.timing = replace(world.engine.timing, lease=0.6)
    world.engine.clock = SystemClock()
    job = world.submit()
    worker = Worker(world.engine, concurrency=1)
    upload, others = world.backend.upload, []

    def slow(spec: object, *, key: str) -> object:
        worker.stop()
        time.sleep(1.5)
        others.append(
            operations.claim(
                world.store, owner="other", now=time.time(), lease=1, limit=1, watched=False
            )
        )
        return upload(spec, key=key)  # type: ignore[arg-type]

    world.backend.upload = slow  # type: ignore[method-assign,assignment]
    worker.run()
    assert others == [[]]
    assert world.op(job, "upload").status == "live"


def test_closing_a_job_that_never_started_and_a_command_do_not_lock_each_other_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.submit()
    with pytest.raises(Crash):
        world.make_worker("w", crash_at("train.after-intent")).drain()
    commands.cancel(world.engine, job)
    errors: list[str] = []

    def command() -> None:
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
        time.sleep(0.3)
        return closed

    monkeypatch.setattr(TrainStarter, "never_started", slow)
    world.drain()
    thread.join(20)
    assert errors == ["IllegalTransition"]
    assert world.state(job) == "cancelled"
    assert [row["failures"] for row in world.rows(schema.operations)] == [0, 0]
