"""Which process is which: an identity that no other process can have, starting and ending one.

A pid alone is not enough: it is used again after a while, and after a reboot at once. With the
time at which the process started and the id of the boot it names one process for good.

What a process has started carries its mark, a random word in the environment: a session's number
is used again as well, and what is ended by number alone may be a stranger.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

__all__ = [
    "Identity",
    "identify",
    "is_alive",
    "mark",
    "members",
    "parse",
    "signal_group",
    "start",
]

_MARK = "UNDERSTUDY_LOCAL_MARK"

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_GONE = frozenset({psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD})
_lock = threading.Lock()


class _Left(subprocess.Popen[bytes]):
    """A process that is meant to outlive this one: leaving it running is no mistake."""

    def __del__(self) -> None:
        """Warn of nothing."""


_started: list[_Left] = []


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """One process of one boot.

    ``started`` is in seconds: since the boot on Linux, where no clock that is set can change it,
    else since the epoch. ``mark`` stands in the environment of all that it starts.
    """

    pid: int
    started: float
    boot: str
    mark: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it stands in files."""
        return asdict(self)


def boot_id() -> str:
    """What tells this boot of the machine from any other."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        # Not Linux: the time of the boot, to the minute, as clocks are set a little.
        return f"booted-{psutil.boot_time() // 60:.0f}"


def _start_of(process: psutil.Process) -> float:
    try:
        text = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        if _BOOT_ID.exists():
            raise psutil.NoSuchProcess(process.pid) from None
        return float(process.create_time())
    # The name in brackets may hold anything; the start is the twentieth word behind it.
    return int(text.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


def mark() -> None:
    """Give this process a mark, where it was not started by ``start``."""
    os.environ.setdefault(_MARK, secrets.token_hex(16))


def identify(pid: int | None = None) -> Identity | None:
    """The process with that pid, by default this one with its mark; None if there is none."""
    try:
        process = psutil.Process(pid)
        return Identity(
            pid=process.pid,
            started=_start_of(process),
            boot=boot_id(),
            mark=os.environ.get(_MARK, "") if process.pid == os.getpid() else "",
        )
    except psutil.Error:
        return None


def parse(record: Mapping[str, Any] | None) -> Identity | None:
    """What ``Identity.to_json`` wrote, further fields or not; None where it is not there."""
    if record is None or not {"pid", "started", "boot"} <= set(record):
        return None
    return Identity(
        pid=int(record["pid"]),
        started=float(record["started"]),
        boot=str(record["boot"]),
        mark=str(record.get("mark", "")),
    )


def _process(identity: Identity) -> psutil.Process | None:
    if identity.boot != boot_id():
        return None
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(identity.pid)
        # Both times come from the same counter of the kernel; a reader may round them.
        if abs(_start_of(process) - identity.started) < 0.005:
            return process
    return None


def is_alive(identity: Identity | None) -> bool:
    """Whether that very process still runs."""
    reap()
    process = None if identity is None else _process(identity)
    if process is None:
        return False
    try:
        return process.status() not in _GONE
    except psutil.Error:
        return False


def members(leader: Identity) -> list[psutil.Process]:
    """Processes that ``leader`` has started, and those that they have, itself left out.

    Also those that outlived it. None where it has no mark to know them by.
    """
    if leader.boot != boot_id() or not leader.mark:
        return []
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            ours = process.pid != leader.pid and process.environ().get(_MARK) == leader.mark
            if ours and process.status() not in _GONE:
                found.append(process)
    return found


def signal_group(leader: Identity, number: signal.Signals) -> None:
    """Send a signal to all that ``leader`` has started, and to itself. Gone is not an error."""
    for process in members(leader):
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)
    process_ = _process(leader)
    if process_ is not None:
        with contextlib.suppress(psutil.Error):
            process_.send_signal(number)


def start(arguments: Sequence[str], *, output: Path, environment: Mapping[str, str]) -> Identity:
    """Start ``python arguments...`` as the leader of a session of its own, and return at once.

    It outlives this process, hears no Ctrl-C of its terminal, and writes to ``output``.
    """
    word = secrets.token_hex(16)
    with output.open("ab") as out:
        process = _Left(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **environment, _MARK: word},
            cwd=output.parent,
        )
    with _lock:
        _started.append(process)
    # It may have ended already; then nothing of that pid and time is ever alive.
    found = identify(process.pid) or Identity(pid=process.pid, started=0.0, boot=boot_id())
    return replace(found, mark=word)


def reap() -> None:
    """Let go of ended children, so that they do not stay as zombies."""
    with _lock:
        _started[:] = [process for process in _started if process.poll() is None]
