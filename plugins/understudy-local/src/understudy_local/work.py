"""Work in a process of its own, beside training: an export, a batch. Each has a folder.

::

    FOLDER/
      spec.json      what to do; written before the folder appears, never changed
      spawned.json   the process that was started last to do it
      worker.json    the process that does it
      worker.lock    held by it as long as it lives
      progress.json  how far it is
      output.txt     what it printed
      outcome.json   how it ended; written once, and final

The folder is named by the key of its intent and appears whole, so one key is one piece of work.
Whoever looks at work that is not done and that nobody does starts its process again; the process
goes on where the last one was. So a crash or a reboot costs time, and nothing else.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from understudy.errors import NotFound
from understudy_local import processes
from understudy_local.artifacts import read_json, write_json, write_once
from understudy_local.settings import LocalSettings

__all__ = [
    "Work",
    "WorkFailed",
    "attend",
    "begin",
    "carry_out",
    "kept_settings",
    "settings_of",
]


_KEPT = (
    "device",
    "threads",
    "offline",
    "context_tokens",
    "parallel_requests",
    "idle_seconds",
    "max_restarts",
    "poll_interval",
)
"""Settings that shape what processes of ours do; none is a secret."""


def kept_settings(settings: LocalSettings) -> dict[str, Any]:
    """The settings that a process of ours must know, as JSON for its ``spec.json``."""
    told = {name: getattr(settings, name) for name in _KEPT}
    return {**told, "home": os.fspath(settings.home)}


def settings_of(spec: Mapping[str, Any]) -> LocalSettings:
    """The settings that ``kept_settings`` put into a spec."""
    told = spec["settings"]
    return LocalSettings.model_validate({**told, "home": Path(told["home"])})


class WorkFailed(Exception):  # noqa: N818 - the name says it
    """The work cannot be done. ``code`` is machine-readable; the message says what to change."""

    def __init__(self, message: str, *, code: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Work:
    """The folder of one piece of work."""

    path: Path

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def lock(self) -> Path:
        """Held by the process that does it."""
        return self.path / "worker.lock"

    @property
    def output(self) -> Path:
        """What its processes printed."""
        return self.path / "output.txt"

    def spec(self) -> dict[str, Any]:
        """What to do.

        Raises:
            NotFound: there is no such work.
        """
        told = read_json(self.path / "spec.json")
        if told is None:
            raise NotFound(
                f"there is nothing in {self.path}; if the folder was moved, set home in "
                "[backends.local]"
            )
        return told

    def progress(self) -> dict[str, Any]:
        """How far it is; empty before it began."""
        return read_json(self.path / "progress.json") or {}

    def tell(self, **told: Any) -> None:
        """Say how far it is."""
        write_json(self.path / "progress.json", {**self.progress(), **told}, durable=False)

    def outcome(self) -> dict[str, Any] | None:
        """How it ended, if it has."""
        return read_json(self.path / "outcome.json")

    def end(self, state: str, **told: Any) -> bool:
        """Say how it ended; the first to say so is believed. Whether it was us."""
        return write_once(self.path / "outcome.json", {"state": state, **told})

    def fail(self, message: str, *, code: str) -> bool:
        """End it as failed."""
        return self.end("failed", problem={"message": message, "code": code})


def begin(work: Work, spec: Mapping[str, Any]) -> bool:
    """Make the folder with what to do; False where it was there already, and stays as it is."""
    if work.path.exists():
        return False
    work.path.parent.mkdir(parents=True, exist_ok=True)
    part = work.path.with_name(f".{work.id}.{os.getpid()}.{secrets.token_hex(4)}")
    part.mkdir()
    try:
        write_json(part / "spec.json", spec)
        part.rename(work.path)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        if work.path.exists():
            return False  # somebody with the same key was quicker
        raise
    return True


def attend(work: Work, module: str, *, max_restarts: int, environment: Mapping[str, str]) -> None:
    """See to it that somebody does the work, unless it has ended. Waits for nothing.

    Args:
        work: its folder.
        module: run as ``python -m MODULE FOLDER``.
        max_restarts: how often it is started again without having got any further.
        environment: for the process.
    """
    if work.outcome() is not None or _is_attended(work):
        return
    try:
        with FileLock(work.path / "spawn.lock", timeout=0):
            if work.outcome() is None and not _is_attended(work):
                _spawn(work, module, max_restarts, environment)
    except Timeout:
        return  # somebody else is just seeing to it


def _is_attended(work: Work) -> bool:
    names = ("worker.json", "spawned.json")
    return any(processes.is_alive(processes.parse(read_json(work.path / one))) for one in names)


def _spawn(work: Work, module: str, max_restarts: int, environment: Mapping[str, str]) -> None:
    step = work.progress().get("step", 0)
    former = read_json(work.path / "spawned.json") or {}
    tries = former.get("tries", 0) + 1 if former.get("step") == step else 1
    if tries > max_restarts + 1:
        doing = work.progress().get("doing", "its start")
        work.fail(
            f"its process ended {tries - 1} times in a row during {doing}; the end of "
            f"{work.output} says more. If the system killed it for memory, free some, or take a "
            "smaller student",
            code="killed",
        )
        return
    started = processes.start(
        ["-m", module, str(work.path)], output=work.output, environment=environment
    )
    write_json(work.path / "spawned.json", {**started.to_json(), "tries": tries, "step": step})


def carry_out(work: Work, act: Callable[[Work], None]) -> None:
    """What the work's own process does: ``act``, if nobody else is at it, and say how it ended."""
    try:
        with FileLock(work.lock, timeout=0):
            me = processes.identify()
            assert me is not None
            write_json(work.path / "worker.json", me.to_json())
            if work.outcome() is None:
                _act(work, act)
    except Timeout:
        return


def _act(work: Work, act: Callable[[Work], None]) -> None:
    try:
        act(work)
    except WorkFailed as error:
        work.fail(str(error), code=error.code)
    except MemoryError:
        work.fail("there is not enough memory; take a smaller student", code="out_of_memory")
    except Exception as error:  # noqa: BLE001 - whatever it was, the work must end
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            work.fail(f"the disk of {work.path} is full; free some, and retry", code="no_disk")
            return
        # What nobody foresaw may quote rows: its own words stay in the output file.
        sys.excepthook(type(error), error, error.__traceback__)
        work.fail(
            f"it broke off at an unforeseen {type(error).__name__}; {work.output} says where",
            code="broken",
        )
