"""kill -9 of the worker, of the caller, and of both, with a real trainer."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from local_kit import finished, job_spec, make_backend, start, until
from understudy.model import JobSpec, RemoteState
from understudy_local import processes
from understudy_local.artifacts import JobFolder, read_json, trained

STEPS = 24
# Six starts of torch: seconds where the machine is free, minutes where it is not.
LONG = 500.0

pytestmark = pytest.mark.timeout(2 * LONG)
KEY = "killed-job"


@pytest.fixture(scope="module")
def spec(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> JobSpec:
    told = {"max_steps": STEPS, "checkpoint_steps": 1, "keep_checkpoints": 2}
    return job_spec(tmp_path_factory.mktemp("rows"), tiny, rows=64, precision="float32", **told)


@pytest.fixture(scope="module")
def undisturbed(spec: JobSpec, tmp_path_factory: pytest.TempPathFactory) -> str:
    """sha256 of the adapter of a run that nobody kills."""
    backend = make_backend(tmp_path_factory.mktemp("undisturbed"))
    status = finished(backend, start(backend, spec), seconds=LONG)
    assert status.state is RemoteState.SUCCEEDED, status.problem
    return trained(backend.machine.home, status.model or "").sha256


class Scene:
    """One job, its caller, and a hand that kills."""

    def __init__(self, home: Path, spec: JobSpec) -> None:
        self.home, self.spec = home, json.dumps(asdict(spec))
        self.folder = JobFolder(home / "jobs" / KEY)
        self.caller = self.call()

    def call(self) -> subprocess.Popen[str]:
        script = str(Path(__file__).with_name("caller.py"))
        return subprocess.Popen(
            [sys.executable, script, str(self.home), self.spec, KEY],
            stdout=subprocess.PIPE,
            text=True,
        )

    def step(self) -> int:
        return int((read_json(self.folder.heartbeat) or {}).get("step") or 0)

    def worker(self) -> processes.Identity:
        def look() -> processes.Identity | None:
            found = processes.parse(read_json(self.folder.worker))
            return found if processes.is_alive(found) else None

        found: processes.Identity = until(look, seconds=LONG)
        return found

    def reach(self, step: int) -> bool:
        """Wait until the step is done; whether the job is still at work then."""
        until(lambda: self.step() >= step or self.folder.outcome.exists(), seconds=LONG)
        return not self.folder.outcome.exists()

    def kill(self, what: str) -> None:
        if what in {"worker", "both"}:
            os.kill(self.worker().pid, signal.SIGKILL)
        if what in {"caller", "both"}:
            self.caller.kill()
            self.caller.communicate()
            self.caller = self.call()

    def close(self) -> None:
        self.caller.kill()
        self.caller.communicate()

    def end(self) -> str:
        told, _ = self.caller.communicate(timeout=LONG)
        return told.strip()


@pytest.fixture
def scene(home: Path, spec: JobSpec) -> Iterator[Scene]:
    made = Scene(home, spec)
    yield made
    made.close()


def check(scene: Scene, home: Path, undisturbed: str) -> None:
    assert scene.end() == "succeeded"
    backend = make_backend(home)
    listed = list(backend.jobs())
    assert [handle.id for handle, _ in listed] == [KEY]
    found = trained(backend.machine.home, listed[0][1].model or "")
    assert found.sha256 == undisturbed, "as if nobody had been killed"
    steps = [event.metrics.get("step") for event in backend.events(listed[0][0], after=None)]
    assert steps[-1] == STEPS
    until(lambda: not processes.members(_leader(scene.folder)))


def _leader(folder: JobFolder) -> processes.Identity:
    found = processes.parse(read_json(folder.worker))
    assert found is not None
    return found


def test_a_job_ends_once_whoever_is_killed(undisturbed, home, scene):
    kills = 0
    for what, step in (("worker", 5), ("caller", 8), ("both", 14)):
        assert scene.reach(step)
        scene.kill(what)
        kills += 1
    check(scene, home, undisturbed)
    assert kills == 3


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(20))
def test_a_job_ends_once_at_any_moment(undisturbed, home, scene, seed):
    rng = random.Random(seed)
    what, step = rng.choice(("worker", "caller", "both")), rng.randrange(STEPS)
    if scene.reach(step):
        scene.kill(what)
    check(scene, home, undisturbed)
