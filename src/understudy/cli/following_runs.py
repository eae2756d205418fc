"""Driving a precompute run in this process, with its progress."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from understudy.cli.following import Sights
from understudy.cli.output import note, progress

if TYPE_CHECKING:
    from understudy.project import Project

__all__ = ["drive_run"]

_LOOK_EVERY = 0.2


def drive_run(project: Project, run_id: str, *, quiet: bool = False) -> None:
    """Drive one run until nothing more happens to it by itself.

    Raises:
        KeyboardInterrupt: after the step at hand has ended.
    """
    from understudy.engine import Worker

    sights = Sights()
    engine = project.engine(notify=sights.notify)
    worker = Worker(engine, job_id=run_id, concurrency=project.config.worker.concurrency)
    thread = threading.Thread(target=worker.run, name="worker", daemon=True)
    thread.start()
    try:
        _show(project, run_id, quiet=quiet)
    except KeyboardInterrupt:
        note(f"Stopping {run_id} after the step at hand. Running it again goes on where it is.")
        raise
    finally:
        worker.stop()
        thread.join()


def _show(project: Project, run_id: str, *, quiet: bool) -> None:
    from understudy.batch.account import told
    from understudy.engine import batch_shards
    from understudy.engine.batch_shards import LIVE, RunState

    pause = threading.Event()
    with project.store.read() as tx:
        _, total = told(batch_shards.shards_of(tx, run_id))
    with progress("rows settled", total, quiet=quiet) as bar:
        while True:
            with project.store.read() as tx:
                run = batch_shards.get_run(tx, run_id)
                shards = batch_shards.shards_of(tx, run_id)
            done, _ = told(shards)
            out = sum(shard.state in LIVE for shard in shards)
            bar.update(done, f"{out} batches out")
            if run.state.ended or run.state is RunState.NEEDS_ATTENTION:
                return
            pause.wait(_LOOK_EVERY)
