"""The suite's hands at this machine: a backend whose workers are records and start nothing.

What a worker would write, this writes; so each line of the contract takes milliseconds. What
workers really do is in test_worker.py and test_training.py.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import SecretStr

from local_kit import fake_student, job_spec
from understudy.backend import Backend
from understudy.model import (
    BatchStatus,
    ChatReply,
    ChatRequest,
    Handle,
    JobSpec,
    RemoteState,
    RemoteStatus,
    Rows,
    Usage,
)
from understudy.testing import ManualClock, ProviderAdapter
from understudy_local import processes
from understudy_local.artifacts import JobFolder, write_json
from understudy_local.backend import LocalBackend
from understudy_local.export.order import ExportOrder, read_order
from understudy_local.export.reference import write_answers
from understudy_local.formats import gguf_file
from understudy_local.machine import Machine
from understudy_local.plugin import understudy_backends
from understudy_local.serving.batch_work import OUTPUT, answer_all
from understudy_local.settings import LocalSettings
from understudy_local.status import STATES, Look
from understudy_local.students import locate
from understudy_local.trainers.reporting import Reporter
from understudy_local.work import Work

SECRET = "hf_conformanceSecret0123456789"


@dataclass
class World:
    """What all backends of one test share."""

    calls: int = 0
    placed: int = 0
    faults: list[tuple[str, Callable[[], None]]] = field(default_factory=list)
    begun: list[Work] = field(default_factory=list)
    torn: bool = False


class WatchedMachine(Machine):
    """Counts, breaks as told, and writes what workers would write."""

    def __init__(self, settings: LocalSettings, world: World) -> None:
        super().__init__(settings)
        self.world = world

    def _meet(self, moment: str) -> None:
        for known in list(self.world.faults):
            if known[0] in {moment, "any"}:
                self.world.faults.remove(known)
                known[1]()

    def stage(self, upload: Path, files: Mapping[str, Rows]) -> None:
        self.world.calls += 1
        super().stage(upload, files)

    def place(self, folder: JobFolder, order: Mapping[str, Any]) -> bool:
        self.world.calls += 1
        self.world.placed += 1
        self._meet("before")
        made = super().place(folder, order)
        self._meet("after")
        return made

    def look(self, folder: JobFolder) -> Look:
        self.world.calls += 1
        self._meet("look")
        return super().look(folder)

    def probe(self) -> int:
        self._meet("look")
        return super().probe()

    def start_worker(self, folder: JobFolder) -> None:
        say(folder, "queued")
        report = Reporter(folder)
        report.note("the trainer is a record", step=0)
        report.note("training started", step=1, loss=1.5)


def say(folder: JobFolder, state: str) -> None:
    me = processes.identify()
    assert me is not None
    write_json(folder.worker, {**me.to_json(), "state": state})


class RecordedBackend(LocalBackend):
    """Its exports and batches are done by the test, and its answers are counted."""

    world: World

    def _meet(self, moment: str) -> None:
        machine = self.machine
        assert isinstance(machine, WatchedMachine)
        machine._meet(moment)

    def complete(self, request: ChatRequest, *, timeout: float) -> ChatReply:
        self.world.calls += 1
        return super().complete(request, timeout=timeout)

    def _begin_export(self, work: Work, order: ExportOrder) -> None:
        self.world.calls += 1
        super()._begin_export(work, order)
        self._meet("after-export")

    def _attend_export(self, work: Work) -> None:
        return

    def poll_export(self, handle: Handle) -> RemoteStatus:
        self.world.calls += 1
        return super().poll_export(handle)

    def _begin_batch(self, work: Work, told: Mapping[str, Any]) -> None:
        self.world.calls += 1
        self.world.placed += 1
        super()._begin_batch(work, told)
        self._meet("after-batch")

    def _attend_batch(self, work: Work) -> None:
        self.world.begun.append(work)

    def poll_batch(self, handle: Handle) -> BatchStatus:
        self.world.calls += 1
        return super().poll_batch(handle)

    def _copy(self, there: BinaryIO, here: BinaryIO) -> None:
        if self.world.torn:
            self.world.torn = False
            here.write(there.read(100))
            raise OSError(errno.EIO, "cut")
        super()._copy(there, here)


def _echo(request: ChatRequest) -> ChatReply:
    return ChatReply(
        message={"role": "assistant", "content": "it is on its way"},
        finish_reason="stop",
        usage=Usage(input=4, output=4),
        model=request.model,
    )


class FolderAdapter(ProviderAdapter):
    """Hands at a folder of the test."""

    backend_spec = next(understudy_backends())
    secret = SECRET
    statuses: Mapping[str, RemoteState] = STATES

    def __init__(self, home: Path) -> None:
        self.home, self.world, self.clock = home, World(), ManualClock()

    def fresh_backend(self) -> Backend:
        settings = LocalSettings(home=self.home, hf_token=SecretStr(SECRET), device="cpu")
        backend = RecordedBackend(name="mine", settings=settings, clock=self.clock)
        backend.world = self.world
        backend.machine = WatchedMachine(settings, self.world)
        return backend

    def spec(self, folder: Path) -> JobSpec:
        return job_spec(folder, fake_student(folder / "student"))

    def requests(self) -> int:
        return self.world.calls

    def paid_requests(self) -> int:
        return self.world.placed

    def count_jobs(self, key: str) -> int:
        return len(list(self.home.glob(f"jobs/{key}")))

    def count_files(self) -> int:
        return len(list(self.home.glob("uploads/*/*")))

    def make_status(self, handle: Handle, raw: str) -> None:
        folder = JobFolder(self.home / "jobs" / handle.id)
        for path in (folder.wish_cancel, folder.wish_pause, folder.outcome):
            path.unlink(missing_ok=True)
        wishes = {
            "cancelling": folder.wish_cancel,
            "pausing": folder.wish_pause,
            "paused": folder.wish_pause,
        }
        if raw in wishes:
            wishes[raw].touch()
        if raw in {"succeeded", "failed", "cancelled"}:
            self._end(folder, raw)
        words = {"cancelling": "running", "pausing": "running", "resuming": "paused"}
        say(folder, words.get(raw, raw))

    def _end(self, folder: JobFolder, state: str) -> None:
        problem = {"code": "nan_loss", "message": "the loss is nan"} if state == "failed" else None
        if state == "succeeded":
            for step in (5, 10):
                made = folder.checkpoints / f"checkpoint-{step}"
                made.mkdir(parents=True, exist_ok=True)
                (made / "complete").touch()
            folder.adapter.mkdir(exist_ok=True)
        told = {"base": "base", "base_model": "tiny", "adapter_sha256": "0" * 64}
        write_json(
            folder.outcome, {"state": state, "problem": problem, "device_seconds": 1.0, **told}
        )

    def _fault(self, moment: str, number: int, words: str = "") -> None:
        def fail() -> None:
            raise OSError(number, words or os.strerror(number))

        self.world.faults = [(moment, fail)]

    def fail_before_create(self) -> None:
        self._fault("before", errno.EIO)

    def fail_after_create(self) -> None:
        self._fault("after", errno.EIO)

    def lose_reply(self) -> None:
        self._fault("after", errno.EINTR)

    def rate_limit(self, seconds: float) -> None:
        self._fault("any", errno.EAGAIN)

    def echo_secret(self) -> None:
        self._fault("any", errno.EACCES, f"not with {SECRET}")

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for work in self.world.begun:
            if work.outcome() is None:
                answer_all(work, _echo, parallel=1)

    def answering(self, backend: Backend, spec: JobSpec) -> str:
        return "smollm2-135m"

    # -- exports -------------------------------------------------------------------------------

    def count_exports(self) -> int:
        return len(list(self.home.glob("jobs/*/exports/[!.]*")))

    def lose_export_reply(self) -> None:
        self._fault("after-export", errno.EINTR)

    def finish_export(self, handle: Handle) -> None:
        """What the export's process would leave: the files are the bundled student's."""
        job, _, name = handle.id.partition("/")
        work = Work(self.home / "jobs" / job / "exports" / name)
        spec = read_order(work).spec
        files = []
        for number, kind in enumerate(spec.formats):
            path = gguf_file(JobFolder(self.home / "jobs" / job), None, kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.symlink_to(locate("smollm2-135m").at)
            told = {"format": kind, "path": f"gguf/{path.name}", "sha256": f"{number:064}"}
            files.append({**told, "bytes": path.stat().st_size})
        for source in ("trained", *spec.formats):
            write_answers(work.path / "answers" / f"{source}.jsonl", iter(["yes"] * spec.rows))
        work.end("succeeded", model=f"{spec.model}:{spec.serve}", files=files, licence="none")

    def make_export_fail(self, handle: Handle) -> None:
        job, _, name = handle.id.partition("/")
        Work(self.home / "jobs" / job / "exports" / name).fail("the disk is full", code="no_disk")

    # -- batches -------------------------------------------------------------------------------

    def batch_model(self, backend: Backend, spec: JobSpec) -> str:
        return "smollm2-135m"

    def count_batches(self, key: str) -> int:
        return len(list(self.home.glob(f"batches/{key}")))

    def fail_after_batch(self) -> None:
        self._fault("after-batch", errno.EIO)

    def lose_batch_reply(self) -> None:
        self._fault("after-batch", errno.EINTR)

    def break_download(self) -> None:
        self.world.torn = True

    def lose_batch_files(self, handle: Handle) -> None:
        (self.home / "batches" / handle.id / OUTPUT).unlink()
