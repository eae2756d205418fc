"""One server process a model, shared by everything on the machine that runs as this user.

::

    HOME/servers/<id of the file>/
      loading.lock   held by the server's process until it answers
      loading.fifo   closed by it then, which whoever waits can wait for
      server.json    the process, where it listens and its key; gone once it has ended
      failure.json   why it could not start
      output.txt     what it printed
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil

from understudy.errors import InvalidData, NotEligible, Unavailable
from understudy_local import devices, processes
from understudy_local.artifacts import Home, read_json
from understudy_local.processes import Identity
from understudy_local.serving.models import Served
from understudy_local.settings import LocalSettings

__all__ = [
    "Address",
    "address",
    "default_threads",
    "end",
    "end_folder",
    "folder_of",
    "order_of",
    "running",
]

_ALL_LAYERS = 999
_children: list[subprocess.Popen[bytes]] = []


@atexit.register
def _let_go() -> None:
    for child in _children:
        # They are to outlive this process; without a code Popen would complain of that.
        child.returncode = child.poll() or 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where a model answers. ``url`` without a path; ``key`` goes along with every request."""

    url: str
    key: str
    process: Identity

    def __repr__(self) -> str:
        return f"Address({self.url!r}, pid={self.process.pid})"


def folder_of(home: Home, served: Served) -> Path:
    """What is known of the server of a file."""
    return home.path / "servers" / served.id


def address(home: Home, served: Served, settings: LocalSettings, *, timeout: float) -> Address:
    """Where ``served`` answers; its server is started if there is none.

    Raises:
        Unavailable: it is loading still after ``timeout`` seconds, and goes on with it.
        InvalidData: the file cannot be loaded.
        NotEligible: what serves is not installed.
    """
    folder = folder_of(home, served)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    deadline = time.monotonic() + timeout
    found = _running(folder)
    if found is None:
        _start(folder, served, settings)
        if not _wait(folder, deadline - time.monotonic()):
            raise Unavailable(
                f"{served.name} is loading still after {timeout:.0f} seconds; ask again"
            )
        found = _running(folder)
    if found is None:
        raise _trouble(folder, served)
    return found


def running(home: Home, served: Served) -> bool:
    """Whether a server of the file answers now."""
    return _running(folder_of(home, served)) is not None


def _running(folder: Path) -> Address | None:
    told = read_json(folder / "server.json")
    process = processes.parse(told)
    if told is None or process is None or not processes.is_alive(process):
        return None
    return Address(url=told["url"], key=told["key"], process=process)


def _start(folder: Path, served: Served, settings: LocalSettings) -> None:
    """Start the server unless somebody is at it."""
    if _missing():
        raise NotEligible(
            "xllamacpp is not installed, so no local model answers: pip install "
            "'understudy-local[gguf]'"
        )
    lock = os.open(folder / "loading.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return
    pipe = os.open(_fifo(folder), os.O_RDWR | os.O_NONBLOCK)
    try:
        if _running(folder) is None:
            (folder / "failure.json").unlink(missing_ok=True)
            order = order_of(folder, served, settings)
            _spawn(folder, order, loading=(lock, pipe))
    finally:
        # The server's process holds them on.
        os.close(lock)
        os.close(pipe)


def _missing() -> bool:
    from importlib.util import find_spec

    return find_spec("xllamacpp") is None


def order_of(folder: Path, served: Served, settings: LocalSettings) -> dict[str, object]:
    """What the server's process is told; no secret."""
    cuda = devices.kind_of(settings.device) == "cuda"
    return {
        "folder": os.fspath(folder),
        "path": os.fspath(served.path),
        "name": served.name,
        "host": "127.0.0.1",
        "port": 0,
        "parallel": settings.parallel_requests,
        "context": settings.context_tokens,
        "threads": settings.threads or default_threads(),
        "gpu_layers": _ALL_LAYERS if cuda else 0,
        "idle": settings.idle_seconds,
    }


def default_threads() -> int:
    """What OMP_NUM_THREADS says, else one for each core."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() and int(told) else psutil.cpu_count(logical=False) or 1


def _spawn(folder: Path, order: dict[str, object], *, loading: tuple[int, int]) -> None:
    told = {**order, "loading": loading}
    with (folder / "output.txt").open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [
                sys.executable,
                "-m",
                "understudy_local.serving.host",
                orjson.dumps(told).decode(),
            ],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=loading,
        )
    _children[:] = [child for child in _children if child.poll() is None]
    _children.append(process)


def _wait(folder: Path, seconds: float) -> bool:
    """Until the server's process has let go of its lock, by answering or by ending.

    The kernel has no lock with a time limit. So the process holds the end of a pipe as well, and
    closes it after the lock: a pipe can be waited for.
    """
    deadline = time.monotonic() + seconds
    pipe = os.open(_fifo(folder), os.O_RDONLY | os.O_NONBLOCK)
    try:
        closed = select.poll()
        closed.register(pipe, select.POLLHUP)
        while _is_locked(folder):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            closed.poll(left * 1000)
            # A process that dies lets go of both, the pipe a moment before the lock at times.
            select.select([], [], [], 0.001)
        return True
    finally:
        os.close(pipe)


def _fifo(folder: Path) -> Path:
    path = folder / "loading.fifo"
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    return path


def _is_locked(folder: Path) -> bool:
    lock = os.open(folder / "loading.lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _trouble(folder: Path, served: Served) -> InvalidData | Unavailable:
    """Why nobody answers although nobody is loading."""
    told = read_json(folder / "failure.json")
    if told is not None:
        return InvalidData(
            f"{served.path} cannot be served ({told['message']}); {folder / 'output.txt'} says "
            "more. If the file is damaged, remove it and export again"
        )
    return Unavailable(
        f"the server of {served.name} ended before it answered; {folder / 'output.txt'} says why. "
        "If the system killed it for memory, free some or serve a smaller format"
    )


def end(home: Home, served: Served) -> None:
    """Ask the server of a file to end; there may be none."""
    end_folder(folder_of(home, served))


def end_folder(folder: Path) -> None:
    """Ask the server in ``folder`` to end; there may be none."""
    found = _running(folder)
    if found is not None:
        processes.signal_group(found.process, signal.SIGTERM)
