"""``understudy worker``."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.opened import log_on_stderr, moment, open_project
from understudy.cli.output import note

if TYPE_CHECKING:
    from understudy.engine import Engine, Worker

__all__ = ["worker"]

_LOOK_EVERY = 0.5


def worker(
    ctx: typer.Context,
    *,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Steps at once; default: [worker] concurrency.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Step what is due now, then end.")] = False,
    drain: Annotated[
        bool, typer.Option("--drain", help="End when no job wants anything any more.")
    ] = False,
    max_idle: Annotated[
        float | None, typer.Option(min=0, help="End after so many seconds without work.")
    ] = None,
) -> None:
    """Drive all jobs of the store until SIGTERM or Ctrl-C; the step at hand is finished first."""
    from understudy.engine import Worker

    with log_on_stderr(everything=True), open_project(ctx) as project:
        engine = project.engine()
        threads = concurrency or project.config.worker.concurrency
        made = Worker(engine, concurrency=threads)
        if once:
            note(f"{made.once()} operations stepped.")
            return
        with _stopping(made):
            note(f"Worker {engine.worker} drives {project.config.store.shown}.")
            until = _Until(engine, drain=drain, max_idle=max_idle)
            made.run(until=until)
            until.tell()
        note("Worker ended; running it again goes on.")


class _Until:
    """Whether the worker is done; on the way it shows what the worker did."""

    def __init__(self, engine: Engine, *, drain: bool, max_idle: float | None) -> None:
        from understudy.engine.looking import newest_event

        self._engine, self._drain, self._max_idle = engine, drain, max_idle
        self._look_at = 0.0
        self._busy_at = time.monotonic()
        with engine.store.read() as tx:
            self._event = newest_event(tx)

    def __call__(self) -> bool:
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + _LOOK_EVERY
        left = self.tell()
        if left:
            self._busy_at = now
        idle = self._max_idle is not None and now - self._busy_at >= self._max_idle
        return idle or (self._drain and not left)

    def tell(self) -> int:
        """Show what the worker did since the last call; how many operations are left."""
        from understudy.engine.looking import events_since, outstanding

        with self._engine.store.read() as tx:
            left = outstanding(tx)
            new = events_since(tx, self._event, worker=self._engine.worker)
        for event in new:
            self._event = event.id
            change = f"{event.from_state} -> {event.to_state}"
            note(f"{moment(event.at)} {event.job_id} {change}: {event.cause}")
        return left


@contextmanager
def _stopping(made: Worker) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the worker after its step."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        note("Stopping after the step at hand.")
        made.stop()
        # A second signal ends it at once: leases and the sending protocol make that safe.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    before: dict[int, Callable[..., Any] | int | None] = {
        number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
