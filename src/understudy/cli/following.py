"""Following a job on the terminal: its history as lines, its long stages as bars."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from understudy.cli.opened import moment
from understudy.cli.output import Bar, note, progress
from understudy.states import TERMINAL, State

if TYPE_CHECKING:
    from understudy.engine import Engine
    from understudy.engine.looking import CurvePoint
    from understudy.project import Project

__all__ = ["ENDED", "Sights", "drive", "follow", "leaves_something"]

ENDED = TERMINAL | {State.NEEDS_ATTENTION}
"""States in which nothing more happens by itself."""

_LOOK_EVERY = 0.1
_ASK_EVERY = (1.0, 5.0)
_PATIENCE = 5.0


class Sights:
    """What worker threads tell of their progress, kept for the thread that shows it."""

    def __init__(self) -> None:
        self._seen: deque[tuple[str, int, int]] = deque(maxlen=1000)

    def notify(self, _job_id: str, stage: str, done: int, total: int) -> None:
        """What ``Engine.notify`` takes."""
        self._seen.append((stage, done, total))

    def take(self) -> list[tuple[str, int, int]]:
        """The newest word of each stage since the last call, in the order of the stages."""
        newest: dict[str, tuple[int, int]] = {}
        while self._seen:
            stage, done, total = self._seen.popleft()
            newest[stage] = (done, total)
        return [(stage, done, total) for stage, (done, total) in newest.items()]


class _Bars:
    """One bar at a time; a new stage ends the one before."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._stack = ExitStack()
        self._bar: Bar | None = None
        self._shown: tuple[str, float, str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def update(self, stage: str, done: float, total: float | None, said: str = "") -> None:
        if self._shown == (stage, done, said):
            return
        if self._bar is None or self._shown is None or self._shown[0] != stage:
            self._stack.close()
            self._bar = self._stack.enter_context(progress(stage, total, quiet=self._quiet))
        self._shown = (stage, done, said)
        self._bar.update(done, said)


class _Follower:
    """Reads store and training log; writes nothing."""

    def __init__(self, project: Project, job_id: str, *, worker: str | None, quiet: bool) -> None:
        from understudy.engine.looking import TrainingLog

        self._project, self._job_id = project, job_id
        self._worker, self._quiet = worker, quiet
        self._log = TrainingLog(project.store, project, job_id)
        self._shortest = project.config.worker.poll_seconds / project.config.clock.speed
        self._ask_at = 0.0
        self._event = 0
        self._warned = False
        self._began = time.monotonic()

    def look(self) -> State:
        """Print new lines of history; the state now."""
        from understudy.engine.looking import events_since, state_of

        with self._project.store.read() as tx:
            state = state_of(tx, self._job_id)
            new = events_since(tx, self._event, job_id=self._job_id)
        for event in new:
            self._event = event.id
            if not self._quiet:
                note(f"{moment(event.at)} {event.to_state}: {event.cause}")
        if new:
            self._began = time.monotonic()
        elif not self._warned and time.monotonic() - self._began > _PATIENCE:
            self._warn()
        return state

    def _warn(self) -> None:
        """Say once why nothing happens, where that can be told."""
        from understudy.engine.looking import holder, unattended

        clock = self._project.config.clock
        now = clock.now()
        with self._project.store.read() as tx:
            held = holder(tx, self._job_id, now=now)
            idle = unattended(tx, self._job_id, now=now, patience=_PATIENCE * clock.speed)
        if self._worker is None and idle and held is None:
            self._warned = True
            note(f"No worker moves {self._job_id}; start one with `understudy worker`.")
        if self._worker is not None and held is not None and held[0] != self._worker:
            self._warned = True
            note(
                f"Worker {held[0]} holds {self._job_id} until {moment(held[1])}; if it is gone, "
                "this one goes on then."
            )

    def training(self, *, last: bool) -> CurvePoint | None:
        """The newest measurement, asked for at a modest rate; the ``last`` one at once."""
        from understudy.errors import UnderstudyError

        now = time.monotonic()
        if not self._quiet and (last or now >= self._ask_at):
            low, high = _ASK_EVERY
            self._ask_at = now + min(max(self._shortest, low), high)
            try:
                self._log.look()
            except UnderstudyError:
                # The worker meets the same trouble and says so; here it only costs the bar.
                self._ask_at = now + high
        return self._log.points[-1] if self._log.points else None


def follow(
    project: Project,
    job_id: str,
    *,
    sights: Sights | None = None,
    worker: str | None = None,
    quiet: bool = False,
) -> State:
    """Show a job, from its beginning, until nothing more happens to it by itself.

    Args:
        project: the project.
        job_id: its full id.
        sights: progress of a worker in this process.
        worker: name of that worker; without one, somebody else must move the job.
        quiet: show nothing, for ``--json``.

    Returns:
        The state in which it stays.
    """
    follower = _Follower(project, job_id, worker=worker, quiet=quiet)
    pause = threading.Event()
    training = False
    with _Bars(quiet=quiet) as bars:
        while True:
            for stage, done, total in sights.take() if sights else ():
                bars.update(stage, done, total)
            state = follower.look()
            was, training = training, state is State.RUNNING
            point = follower.training(last=not training) if was or training else None
            if point is not None:
                bars.update("training", point.step, point.total_steps, _loss(point))
            if state in ENDED:
                return state
            pause.wait(_LOOK_EVERY)


def _loss(point: CurvePoint) -> str:
    return "" if point.train_loss is None else f"loss {point.train_loss:.3f}"


def leaves_something(project: Project, job_id: str) -> bool:
    """Whether a deployment of the job is to go down now."""
    from understudy.engine.looking import going_down

    with project.store.read() as tx:
        return bool(going_down(tx, job_id, now=project.config.clock.now()))


def _wind_up(project: Project, job_id: str, *, quiet: bool) -> None:
    """Wait for the worker to take down what the job has deployed."""
    pause = threading.Event()
    told = quiet
    while leaves_something(project, job_id):
        if not told:
            told = True
            note("Taking down what was deployed for the evaluation.")
        pause.wait(_LOOK_EVERY)


def drive(
    project: Project, engine: Engine, job_id: str, sights: Sights, *, quiet: bool = False
) -> State:
    """Drive one job in this process until nothing more happens to it by itself.

    Raises:
        KeyboardInterrupt: after the step at hand has ended.
    """
    from understudy.engine import Worker

    worker = Worker(engine, job_id=job_id, concurrency=2)
    thread = threading.Thread(target=worker.run, name="worker", daemon=True)
    thread.start()
    try:
        state = follow(project, job_id, sights=sights, worker=engine.worker, quiet=quiet)
        _wind_up(project, job_id, quiet=quiet)
    except KeyboardInterrupt:
        note(
            f"Stopping {job_id} after the step at hand (Ctrl-C again: at once). "
            "Running it again goes on where it is."
        )
        raise
    else:
        return state
    finally:
        worker.stop()
        thread.join()
