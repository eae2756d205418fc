"""Sandboxes for tests: one in a process of its own, one on a thread that costs milliseconds."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import uvicorn

from understudy_sandbox.config import Config, Timings
from understudy_sandbox.launch import Sandbox
from understudy_sandbox.server import build_app
from understudy_sandbox.wire import Protocol

SECRET = "sk-planted-73c1f0a5e9"
QUICK: dict[str, Any] = {"validate_seconds": 1, "queue_seconds": 1, "train_seconds": 5}
_ENDED = {"succeeded", "failed", "cancelled"}


class SteppedSandbox(Sandbox):
    """A sandbox in a process of its own, whose clock tests push on."""

    def status(self, job: str) -> str:
        """What the job really is, whatever a fault makes it say."""
        (shown,) = [one["status"] for one in self.state()["jobs"] if one["id"] == job]
        return str(shown)

    def until(self, job: str, *wanted: str, step: float = 1.0) -> None:
        """Push the clock on until the job is in one of ``wanted``."""
        deadline = time.monotonic() + 30
        while self.status(job) not in wanted:
            message = f"{job} is {self.status(job)}, and never came to be {' or '.join(wanted)}"
            assert time.monotonic() < deadline, message
            self.advance(step)

    def finish(self) -> None:
        """Let every job end that is not paused."""
        for one in self.state()["jobs"]:
            self.until(one["id"], *_ENDED, "paused", "pausing")


class _PromptServer(uvicorn.Server):
    """Leaves when it is told to; uvicorn's own looks ten times a second whether it should."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave = asyncio.Event()

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self.on_tick(0)
        if not self._told.is_set():
            await self._leave.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """No grace for connections that are open: nobody asks any more."""
        for one in (*self.servers, *(sockets or ())):
            one.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self.lifespan.shutdown()

    def leave(self) -> None:
        self.should_exit = True
        self._told.set()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._leave.set)


class ThreadSandbox(SteppedSandbox):
    """The same on a thread of this process; ``options`` are those of ``Config``."""

    def __init__(self, *, api_key: str = SECRET, port: int = 0, **options: Any) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="understudy-openai-")
        super().__init__(Path(self._folder.name), api_key=api_key, port=port)
        self.config = Config(data=self.data, api_key=api_key, **options)

    def start(self) -> Self:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen(64)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        settings = uvicorn.Config(
            build_app(self.config),
            http=Protocol,
            log_level="warning",
            access_log=False,
            ws="none",
            timeout_graceful_shutdown=1,
        )
        self._server = _PromptServer(settings)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.leave()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._folder.cleanup()


def thread_sandbox(**options: Any) -> ThreadSandbox:
    """One whose jobs pass through every status, and take no time to be taken in."""
    timings = Timings(processing=0.0, validating=2, queued=3, running=20, pausing=0.5)
    return ThreadSandbox(**{"timings": timings, **options})


@contextmanager
def rules_taken_away(sandbox: SteppedSandbox) -> Iterator[SteppedSandbox]:
    """No fault of another test, and none left to the next."""
    sandbox.faults()
    yield sandbox
    sandbox.faults()
