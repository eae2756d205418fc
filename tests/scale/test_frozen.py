"""A worker that is frozen past its lease cannot write when it wakes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from engine_kit import World, make_dataset

from understudy.data import Dataset
from understudy.store import Store, schema

_SCRIPT = Path(__file__).with_name("frozen_worker.py")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("dataset"))


def snapshot(world: World) -> dict[str, list[dict[str, object]]]:
    """Every table."""
    return {table.name: world.rows(table) for table in schema.metadata.sorted_tables}


@pytest.mark.parametrize("label", ["upload.after-reply", "evaluate.start", "evaluate.scored"])
def test_it_writes_nothing_after_another_took_over(
    store: Store, store_url: str, dataset: Dataset, label: str
) -> None:
    world = World(store, dataset)
    job = world.submit()
    command = [sys.executable, str(_SCRIPT), store_url, str(dataset.path), job, label]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), process.communicate()[1]
        world.clock.advance(10_000)
        assert world.run_to(job) == "ready"
        before = snapshot(world)
        process.send_signal(signal.SIGCONT)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert "was taken over by another worker; this one wrote nothing" in said
    after = snapshot(world)
    assert after == before
    assert {event.worker for event in world.history(job)} >= {"w1"}
