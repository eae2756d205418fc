"""The worker that the crash matrix kills: a real process on a real store."""

from __future__ import annotations

import faulthandler
import importlib
import os
import random
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from crash_providers import Provider

from understudy.config import load_config
from understudy.engine import Worker, jobs
from understudy.engine.looking import going_down
from understudy.pipeline import prepare_run, start_run
from understudy.project import Project
from understudy.recipe import load_recipe
from understudy.states import TERMINAL, State

__all__ = ["Blow", "preload", "spawn"]


@dataclass(frozen=True, kw_only=True)
class Blow:
    """A signal that a process sends itself on the ``nth`` time that it reaches ``label``."""

    label: str
    nth: int = 1
    signal: int = signal.SIGKILL


def preload(provider: Provider) -> None:
    """Import and read, once, what every forked worker would otherwise read again."""
    common = ("openai.resources.chat", "openai.resources.fine_tuning", "scipy.stats")
    for name in (*common, *provider.preload):
        importlib.import_module(name)
    from understudy.costs.prices import PriceBook
    from understudy.data import count
    from understudy.model import Usage

    count("read the ranks")
    usage = Usage(input=1, output=1)
    PriceBook.load().inference_cost("openai", "gpt-4o-mini-2024-07-18", usage)


class _Struck:
    def __init__(self, blow: Blow | None) -> None:
        self._blow = blow
        self._seen = 0

    def __call__(self, label: str) -> None:
        if self._blow is None or label != self._blow.label:
            return
        self._seen += 1
        if self._seen == self._blow.nth:
            # To this thread, not to the process: the kernel may otherwise stop another thread
            # first and let this one run on past the label.
            signal.pthread_kill(threading.get_ident(), self._blow.signal)


def spawn(folder: Path, recipe: Path, env: dict[str, str], blow: Blow | None) -> int:
    """Fork a worker that drives ``recipe`` to its end, or to the blow; its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        log = os.open(folder / f"{recipe.stem}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        faulthandler.enable()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        random.seed()
        code = _drive(recipe, env, blow)
    except BaseException:  # noqa: BLE001 - the parent reads the log
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _drive(recipe: Path, env: dict[str, str], blow: Blow | None) -> int:
    os.environ |= env  # the SDKs of a provider read some of it themselves
    config = load_config(recipe.parent / "understudy.toml", env=env)
    with Project(config, reach=_Struck(blow)) as project:
        prepared = prepare_run(project, load_recipe(recipe), online=False)
        engine = project.engine()
        job, _ = start_run(project, engine, prepared)

        def ended() -> bool:
            with project.store.read() as tx:
                state = jobs.get(tx, job.id).state
                standing = going_down(tx, job.id, now=config.clock.now())
            return (state in TERMINAL and not standing) or state is State.NEEDS_ATTENTION

        Worker(engine, job_id=job.id, concurrency=1).run(until=ended)
    return 0
