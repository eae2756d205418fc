"""10,000 live jobs polled for a simulated hour: API calls, CPU seconds, peak memory.

The provider is the fake; the clock is moved by hand; the store is SQLite in a temporary folder.
Calls are counted as the OpenAI plugin makes them: the list of all jobs is newest first, in pages
of 100, and is read until every job asked about was seen, or until more pages were read than jobs
were asked about. ``one a job and poll`` is what polling each job alone would take for the same
number of looks.

    python benchmarks/polling.py [--jobs 10000] [--minutes 60]
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa  # noqa: TID253 - a benchmark has no start-up to keep short
from rich.console import Console
from rich.table import Table

from understudy.engine import Worker, operations
from understudy.engine.backoff import tick
from understudy.model import Handle, RemoteStatus
from understudy.store import open_store, schema

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "unit" / "engine"))

from engine_kit import KitBackend, World, make_dataset

_PAGE = 100
_PAUSE = 0.02
"""Seconds that an idle worker waits at least; see ``Worker``."""


class CountingBackend(KitBackend):
    """Counts requests as a provider would see them: one for each page of the list."""

    calls = 0
    looks = 0
    order: Mapping[str, int]
    """Place of each job in the order of creation."""

    def poll_many(self, handles: Sequence[Handle]) -> Mapping[str, RemoteStatus]:
        """Statuses, page after page."""
        newest = len(self.provider.jobs)
        oldest = min(self.order[handle.id] for handle in handles)
        self.calls += min(math.ceil((newest - oldest) / _PAGE), len(handles))
        self.looks += len(handles)
        wanted = {handle.id for handle in handles}
        return {
            job.id: self._status(self.provider._view(job))  # noqa: SLF001
            for job in map(self.provider.jobs.get, wanted)
            if job is not None
        }

    def poll(self, handle: Handle) -> RemoteStatus:
        """One look, one request."""
        self.calls += 1
        self.looks += 1
        return super().poll(handle)

    def find(self, key: str, files: Handle | None) -> Any:
        """The confirmation after a create; counted with the rest."""
        self.calls += 1
        return super().find(key, files)


def start(world: World, jobs: int) -> None:
    """``jobs`` live jobs, put into the store as the engine leaves them after their creates."""
    now = world.clock.now()
    first = world.submit(alias=None)
    world.drain()
    with world.store.write() as tx:
        tx.execute(sa.update(schema.operations).values(confirm_at=None))
        job = dict(tx.execute(sa.select(schema.jobs)).mappings().one())
        train = sa.select(schema.operations).where(schema.operations.c.kind == "train")
        op = dict(tx.execute(train).mappings().one())
        remote = world.provider.jobs[str(op["handle"]["id"])]
        rows, ops = [], []
        for number in range(1, jobs):
            name = f"job-{number:012x}"
            rows.append(job | {"id": name, "run_key": name, "train_key": name})
            handle = op["handle"] | {"id": f"remote-{number}"}
            # After its first look, which follows the create, a job is due on a common tick.
            due = tick(now, world.engine.timing.poll_shortest)
            ops.append(
                op | {"key": f"{name}.train.1", "job_id": name, "handle": handle, "due_at": due}
            )
            world.provider.jobs[handle["id"]] = type(remote)(
                id=handle["id"], body=remote.body, created_at=now
            )
        tx.execute(sa.insert(schema.jobs), rows)
        tx.execute(sa.insert(schema.operations), ops)
    assert first


def run(jobs: int, minutes: float) -> dict[str, Any]:
    """The figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = open_store(f"sqlite:///{folder / 'understudy.db'}")
        world = World(store, make_dataset(folder), cls=CountingBackend)
        world.provider.script = ((0, "queued"), (120, "running"), (10**9, "succeeded"))
        start(world, jobs)
        backend = world.backend
        assert isinstance(backend, CountingBackend)
        backend.calls = backend.looks = 0
        backend.order = {name: place for place, name in enumerate(world.provider.jobs)}
        worker = Worker(world.engine)
        end = world.clock.now() + minutes * 60
        cpu, began = time.process_time(), time.perf_counter()
        while (due := operations.next_due(store)) is not None and due <= end:
            world.clock.advance(max(due - world.clock.now(), _PAUSE))
            worker.drain()
        figures = {
            "jobs": f"{jobs:,}",
            "simulated minutes": f"{minutes:g}",
            "looks at a job": f"{backend.looks:,}",
            "API calls": f"{backend.calls:,}",
            "% of one a job and poll": f"{100 * backend.calls / max(backend.looks, 1):.2f}",
            "CPU seconds": f"{time.process_time() - cpu:.1f}",
            "wall seconds": f"{time.perf_counter() - began:.1f}",
            "peak RSS, MB": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}",
        }
        store.close()
    return figures


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=60)
    asked = parser.parse_args()
    figures = run(asked.jobs, asked.minutes)
    table = Table(title="Polling live jobs (fake provider, SQLite)")
    for name in figures:
        table.add_column(name, justify="right")
    table.add_row(*figures.values())
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
