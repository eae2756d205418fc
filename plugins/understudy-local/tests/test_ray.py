"""Workers on a Ray cluster of one, which the test starts: submitted, cancelled, found again."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_kit import FAKE_WORKER, fake_student, finished, job_spec, make_backend, script, until
from understudy.errors import Unavailable
from understudy.model import Found, JobSpec, RemoteState
from understudy_local.artifacts import read_json
from understudy_local.backend import LocalBackend
from understudy_local.ray_machine import RayMachine

pytestmark = [pytest.mark.prove, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a cluster's dashboard; it ends with the module."""
    # Ray reads both when it is imported; a token is what keeps other users of a machine out.
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    pytest.importorskip("ray", reason="needs understudy-local[ray]")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    head = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("ray_head.py")), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert head.stdout is not None
    assert head.stdin is not None
    try:
        line = head.stdout.readline()
        if not line:
            pytest.fail("the cluster did not start")
        yield json.loads(line)["url"]
    finally:
        head.stdin.close()
        head.wait(60)
        head.stdout.close()


def on_cluster(home: Path, url: str) -> LocalBackend:
    """A backend whose workers have a trainer that trains nothing."""
    backend = make_backend(home, launcher="ray", ray_address=url, ray_python=sys.executable)
    assert isinstance(backend.machine, RayMachine)
    backend.machine.worker = FAKE_WORKER
    return backend


@pytest.fixture
def ray(home: Path, cluster: str) -> LocalBackend:
    return on_cluster(home, cluster)


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    return job_spec(tmp_path, fake_student(tmp_path / "student"))


def submit(backend: LocalBackend, spec: JobSpec, key: str) -> Any:
    return backend.create(spec, backend.upload(spec, key=key), key=key)


def test_a_job_goes_through_the_cluster(ray, spec):
    handle = submit(ray, spec, "one")
    assert finished(ray, handle, seconds=300).state is RemoteState.SUCCEEDED
    submitted = read_json(ray.machine.home.job(handle.id).spawned)
    assert submitted["submission"] == "understudy-one-1"
    events = [event.message for event in ray.events(handle, after=None)]
    assert any("step 10 of 10" in message for message in events)
    assert ray.machine._client.get_job_info("understudy-one-1").metadata == {
        "understudy_job": "one"
    }


def test_a_job_is_cancelled_on_the_cluster(ray, spec, home):
    script(home, "hold")
    handle = submit(ray, spec, "two")
    until(lambda: ray.poll(handle).state is RemoteState.RUNNING, seconds=300)
    ray.cancel(handle)
    assert finished(ray, handle, seconds=300).state is RemoteState.CANCELLED


def test_a_job_is_found_again_after_a_restart(home, cluster, spec):
    script(home, "hold")
    first = on_cluster(home, cluster)
    handle = submit(first, spec, "three")
    until(lambda: first.poll(handle).state is RemoteState.RUNNING, seconds=300)
    # Another process of the user's, with nothing but the store and the folder.
    second = on_cluster(home, cluster)
    found = second.find("three", None)
    assert isinstance(found, Found)
    assert submit(second, spec, "three").id == found.handle.id
    (home / "go").touch()
    assert finished(second, found.handle, seconds=300).state is RemoteState.SUCCEEDED
    assert (home / "starts").read_text().count("three") == 1, "it was started twice"


def test_a_worker_that_dies_on_the_cluster_is_submitted_again(ray, spec, home):
    script(home, "hold")
    handle = submit(ray, spec, "four")
    until(lambda: ray.poll(handle).state is RemoteState.RUNNING, seconds=300)
    folder = ray.machine.home.job(handle.id)
    ray.machine._client.stop_job("understudy-four-1")
    until(lambda: ray.machine._status("understudy-four-1") == "STOPPED", seconds=120)
    (home / "go").touch()
    assert finished(ray, handle, seconds=300).state is RemoteState.SUCCEEDED
    assert read_json(folder.spawned)["submission"] == "understudy-four-2"


def test_a_cluster_that_is_not_there_is_tried_again(home, spec):
    pytest.importorskip("ray", reason="needs understudy-local[ray]")
    nowhere = on_cluster(home, "http://127.0.0.1:9")
    handle = submit(nowhere, spec, "five")
    with pytest.raises(Unavailable, match="is it up"):
        nowhere.poll(handle)
    # What was asked for is not lost: it begins as soon as there is somewhere to begin.
    assert finished(make_fake(home), handle).state is RemoteState.SUCCEEDED


def make_fake(home: Path) -> LocalBackend:
    backend = make_backend(home)
    backend.machine.worker = FAKE_WORKER
    return backend
