"""The worker with real processes and a trainer that trains nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from local_kit import (
    fake_backend,
    fake_student,
    finished,
    job_spec,
    make_backend,
    script,
    start,
    until,
)
from understudy.errors import NotFound
from understudy.model import Handle, JobSpec, RemoteState
from understudy_local import processes
from understudy_local.artifacts import JobFolder, read_json, trained, write_json
from understudy_local.backend import LocalBackend


@pytest.fixture
def fake(home: Path) -> LocalBackend:
    return fake_backend(home)


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    return job_spec(tmp_path, fake_student(tmp_path / "student"))


def folder_of(backend: LocalBackend, handle: Handle) -> JobFolder:
    return backend.machine.home.job(handle.id)


def worker_of(folder: JobFolder) -> processes.Identity:
    def look() -> processes.Identity | None:
        found = processes.parse(read_json(folder.worker))
        return found if processes.is_alive(found) else None

    found: processes.Identity = until(look)
    return found


def holding(backend: LocalBackend, handle: Handle) -> list[psutil.Process]:
    """The processes of a job whose trainer stands in its first step, and has a child."""
    folder = folder_of(backend, handle)
    until(folder.heartbeat.exists)
    leader = worker_of(folder)

    def look() -> list[psutil.Process]:
        many = processes.members(leader)
        return many if len(many) >= 2 else []

    found: list[psutil.Process] = until(look)
    return found


def starts(home: Path) -> list[str]:
    return [line.split()[0] for line in (home / "starts").read_text().splitlines()]


def gone(many: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in many)


def test_a_job_runs_to_its_model(fake, spec):
    handle = start(fake, spec)
    status = finished(fake, handle)
    assert (status.state, status.raw) == (RemoteState.SUCCEEDED, "succeeded")
    assert status.trained_tokens == 1000
    assert status.fields["step"] == 10
    found = trained(fake.machine.home, status.model or "")
    assert found.adapter.is_dir()
    assert found.sha256 == read_json(folder_of(fake, handle).outcome)["adapter_sha256"]
    assert fake.model(handle).id == status.model


def test_progress_is_told_while_it_runs(fake, spec, home):
    script(home, "hold")
    handle = start(fake, spec)
    holding(fake, handle)
    status = fake.poll(handle)
    assert status.state is RemoteState.RUNNING
    assert (status.progress.step, status.progress.total_steps) == (0, 10)
    assert status.fields["peak_memory_bytes"] > 1 << 20
    (home / "go").touch()
    assert finished(fake, handle).state is RemoteState.SUCCEEDED
    losses = [event.metrics["loss"] for event in fake.events(handle, after=None)]
    assert losses == [1 / step for step in range(1, 11)]


def test_cancel_ends_every_process_and_keeps_the_checkpoint(fake, spec, home):
    script(home, "hold")
    handle = start(fake, spec)
    many = [*holding(fake, handle), psutil.Process(worker_of(folder_of(fake, handle)).pid)]
    fake.cancel(handle)
    assert fake.poll(handle).state in {RemoteState.CANCELLING, RemoteState.CANCELLED}
    assert finished(fake, handle).state is RemoteState.CANCELLED
    until(lambda: gone(many))
    assert [point.step for point in fake.checkpoints(handle)] == [1]
    with pytest.raises(NotFound):
        fake.model(handle)


def test_a_deaf_trainer_is_killed_after_the_grace(home, spec):
    fake = fake_backend(home, grace_seconds=0.2)
    script(home, "deaf")
    handle = start(fake, spec)
    many = holding(fake, handle)
    fake.cancel(handle)
    assert finished(fake, handle).state is RemoteState.CANCELLED
    until(lambda: gone(many))


def test_cancel_of_a_job_without_a_worker(fake, spec, home):
    script(home, "hold")
    handle = start(fake, spec)
    many = holding(fake, handle)
    os.kill(worker_of(folder_of(fake, handle)).pid, signal.SIGKILL)
    fake.cancel(handle)
    assert finished(fake, handle).state is RemoteState.CANCELLED
    until(lambda: gone(many))
    assert starts(home) == [handle.id]


def test_pause_frees_the_device_and_resume_goes_on(fake, spec, home):
    script(home, "hold")
    first = start(fake, spec, "first")
    holding(fake, first)
    second = start(fake, spec, "second")
    until(lambda: fake.poll(second).raw == "queued")
    fake.pause(first)
    until(lambda: fake.poll(first).state is RemoteState.PAUSED)
    holding(fake, second)
    fake.resume(first)
    assert until(lambda: fake.poll(first).raw in {"queued", "resuming"})
    (home / "go").touch()
    for handle in (first, second):
        assert finished(fake, handle).state is RemoteState.SUCCEEDED
    assert starts(home) == ["first", "second", "first"]


def test_a_paused_job_stays_paused(fake, spec, home):
    script(home, "hold")
    handle = start(fake, spec)
    holding(fake, handle)
    for _ in range(2):
        fake.pause(handle)
        until(lambda: fake.poll(handle).state is RemoteState.PAUSED)
    until(lambda: not fake.machine.look(folder_of(fake, handle)).alive)
    assert fake.poll(handle).state is RemoteState.PAUSED
    assert starts(home) == [handle.id]


def test_one_at_a_time_and_first_come_first_served(fake, spec, home):
    script(home, "hold")
    handles = []
    for number in range(3):
        handles.append(start(fake, spec, f"job-{number}"))
        fake.clock.advance(1)
        # The first must have its turn before the others stand in line.
        until(lambda: fake.poll(handles[0]).progress)
    for handle in handles[1:]:
        until(lambda handle=handle: any(home.glob(f"slots/line/*-{handle.id}.json")))
        assert fake.poll(handle).state is RemoteState.QUEUED
    assert starts(home) == ["job-0"]
    (home / "go").touch()
    for handle in handles:
        assert finished(fake, handle).state is RemoteState.SUCCEEDED
    assert starts(home) == ["job-0", "job-1", "job-2"]


def test_one_that_died_in_the_line_blocks_nobody(fake, spec, home):
    script(home, "hold")
    first = start(fake, spec, "first")
    holding(fake, first)
    handles = []
    for key in ("second", "third"):
        fake.clock.advance(1)
        handles.append(start(fake, spec, key))
        until(lambda key=key: any(home.glob(f"slots/line/*-{key}.json")))
    os.kill(worker_of(folder_of(fake, handles[0])).pid, signal.SIGKILL)
    (home / "go").touch()
    assert finished(fake, handles[1]).state is RemoteState.SUCCEEDED
    assert starts(home) == ["first", "third"]
    # Looking at it brings it back.
    assert finished(fake, handles[0]).state is RemoteState.SUCCEEDED


def test_a_trainer_killed_once_is_started_again(fake, spec, home):
    script(home, "hold")
    handle = start(fake, spec)
    trainer = holding(fake, handle)[0]
    (home / "go").touch()
    trainer.kill()
    assert finished(fake, handle).state is RemoteState.SUCCEEDED
    assert starts(home) == [handle.id] * 2


def test_a_trainer_killed_again_and_again_fails_with_advice(home, spec):
    fake = fake_backend(home, max_restarts=2)
    script(home, "killed")
    handle = start(fake, spec)
    status = finished(fake, handle)
    assert status.state is RemoteState.FAILED
    assert status.problem.code == "killed"
    assert "smaller batch_size" in status.problem.message
    assert starts(home) == [handle.id] * 3


@pytest.mark.parametrize(("word", "code"), [("broken", "nan_loss"), ("silent", "crashed")])
def test_what_the_trainer_says_is_what_the_job_says(fake, spec, home, word, code):
    script(home, word)
    status = finished(fake, start(fake, spec))
    assert (status.state, status.problem.code) == (RemoteState.FAILED, code)
    assert starts(home) == ["job-1"]


def test_killed_for_memory_is_told_as_such(fake, spec, home, monkeypatch):
    script(home, "hold")
    handle = start(fake, spec)
    holding(fake, handle)
    # The kernel's counter is not ours to raise: what the worker makes of it is.
    from understudy_local.worker import oom, supervise

    worker = supervise.Worker(folder_of(fake, handle))
    told = iter([3, 4])
    monkeypatch.setattr(oom, "kills", lambda: next(told))
    before = oom.kills()
    assert worker._settled(-signal.SIGKILL, starved=oom.kills() > before)
    status = fake.poll(handle)
    assert (status.state, status.problem.code) == (RemoteState.FAILED, "out_of_memory")
    assert "batch_size = 2" in status.problem.message


def test_a_pid_of_another_boot_is_no_worker(fake, spec, home):
    script(home, "hold")
    handle = start(fake, spec)
    many = holding(fake, handle)
    folder = folder_of(fake, handle)
    leader = worker_of(folder)
    # As after a reboot: the files are there, the processes are not.
    processes.signal_group(leader, signal.SIGKILL)
    until(lambda: gone(many) and not processes.is_alive(leader))
    me = processes.identify()
    for path in (folder.worker, folder.spawned):
        write_json(path, {**read_json(path), **me.to_json(), "boot": "another"})
    (home / "go").touch()
    assert finished(fake, handle).state is RemoteState.SUCCEEDED
    assert me == processes.identify(os.getpid())


def test_workers_that_never_begin_end_the_job(home, spec, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(1)")
    backend = make_backend(home, max_restarts=1)
    backend.machine.worker = (str(broken),)
    handle = start(backend, spec)
    status = finished(backend, handle)
    assert (status.state, status.problem.code) == (RemoteState.FAILED, "no_worker")
    assert "output.txt" in status.problem.message


def test_two_workers_at_once_are_one(fake, spec, home):
    script(home, "hold")
    handle = start(fake, spec)
    holding(fake, handle)
    folder = folder_of(fake, handle)
    first = worker_of(folder)
    fake.machine.start_worker(folder)
    (home / "go").touch()
    assert finished(fake, handle).state is RemoteState.SUCCEEDED
    assert processes.parse(read_json(folder.worker)) == first
    assert starts(home) == [handle.id]
