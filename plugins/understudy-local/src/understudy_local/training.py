"""Training as the engine asks for it: a folder named by the key, and a worker for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import orjson

from understudy.backend import Backend, Check, Clock, FindResult
from understudy.errors import (
    BackendError,
    InvalidData,
    NotFound,
    OutcomeUnknown,
    QuotaError,
    Unavailable,
)
from understudy.model import (
    Absent,
    Checkpoint,
    Estimate,
    Found,
    Handle,
    JobSpec,
    ModelRef,
    Problem,
    RemoteEvent,
    RemoteStatus,
    Rows,
    UploadFailed,
    UploadReady,
    UploadStatus,
)
from understudy_local import checks, doctor, estimate
from understudy_local.artifacts import JobFolder, ModelName, folder_id, read_json
from understudy_local.jobfile import order_of, read_order, to_json
from understudy_local.machine import Machine, told
from understudy_local.ray_machine import machine_for
from understudy_local.status import is_resting, status_of
from understudy_local.students import label, locate

__all__ = ["Training"]

P = ParamSpec("P")
R = TypeVar("R")

_TRAIN, _VALIDATION = "train.jsonl", "validation.jsonl"


def _spoken(what: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let trouble of disk and system come out as the engine knows trouble."""

    def wrap(method: Callable[P, R]) -> Callable[P, R]:
        @wraps(method)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            backend: Any = args[0]
            try:
                return method(*args, **kwargs)
            except OSError as error:
                if error.errno is None:
                    raise  # one of ours, such as DataError's relatives
                raise told(error, what=what, home=backend.machine.home.path) from None

        return call

    return wrap


class Training(Backend):
    """The training half of the backend: also find, cancel, pause, events, checkpoints, list."""

    settings: Any

    def __init__(self, *, name: str, settings: Any, clock: Clock) -> None:
        super().__init__(name=name, settings=settings, clock=clock)
        self.machine: Machine = machine_for(settings)

    # -- before it starts ----------------------------------------------------------------------

    def validate(self, spec: JobSpec) -> list[Problem]:
        """Names, values, student, memory and disk; offline."""
        return checks.problems(spec, self.settings)

    def estimate(self, spec: JobSpec) -> Estimate:
        """Tokens, and in the notes memory, minutes, disk and what the device costs."""
        return estimate.estimate(spec, self.settings)

    @_spoken("keep the rows")
    def upload(self, spec: JobSpec, *, key: str) -> Handle:
        """Copy the rows into a folder of this intent alone: the dataset may go away."""
        files: dict[str, Rows] = {_TRAIN: spec.training}
        if spec.validation is not None:
            files[_VALIDATION] = spec.validation
        handle = Handle(
            kind="upload",
            id=folder_id(key),
            data={name: rows.sha256 for name, rows in files.items()},
        )
        self.machine.stage(self.machine.home.upload(handle.id), files)
        return handle

    @_spoken("read the rows")
    def poll_upload(self, handle: Handle) -> UploadStatus:
        """Whether the files are there."""
        folder = self.machine.home.upload(handle.id)
        for name in handle.data:
            if not (folder / name).is_file():
                return UploadFailed(message=f"{folder / name} is gone; retry uploads it again")
        return UploadReady()

    # -- the job -------------------------------------------------------------------------------

    def create(self, spec: JobSpec, files: Handle, *, key: str) -> Handle:
        """Make the job's folder, start its worker, and return. A key that has a job gets that."""
        try:
            source = locate(spec.base_model)
        except NotFound as error:
            raise InvalidData(str(error), code="no_student") from None
        folder = self.machine.home.job(folder_id(key))
        order = order_of(
            spec,
            key=key,
            upload=self.machine.home.upload(files.id),
            source=source,
            settings=self.settings,
            at=self.clock.now(),
        )
        try:
            if self.machine.place(folder, to_json(order)):
                self.machine.start_worker(folder)
        except Unavailable:
            pass  # a launcher that cannot be asked now: the next look starts the worker
        except BackendError:
            raise  # ours are errors of the system to Python, too
        except OSError as error:
            refusal = told(error, what="make the job", home=self.machine.home.path)
            if isinstance(error, PermissionError) or isinstance(refusal, QuotaError):
                raise refusal from None
            # The folder may be there: whoever finds it by its key sees to its worker.
            raise OutcomeUnknown(f"{refusal}: the job {folder.id} may have begun") from None
        return _handle(folder, spec.base_model)

    @_spoken("look for the job")
    def find(self, key: str, files: Handle | None) -> FindResult:  # noqa: ARG002 - by key alone
        """The job's folder, which its key names: there or not, at once."""
        folder = self.machine.home.job(folder_id(key))
        # Where folders cannot be read, absent would be a guess: stat says what it is.
        try:
            folder.spec.stat()
        except FileNotFoundError:
            return Absent()
        return Found(handle=_handle(folder, read_order(folder).base_model))

    @_spoken("look at the job")
    def poll(self, handle: Handle) -> RemoteStatus:
        """One look at the folder; a worker that died is replaced (docs/decisions)."""
        return self._look(self.machine.home.job(handle.id))

    def _look(self, folder: JobFolder) -> RemoteStatus:
        look = self.machine.look(folder)
        if not look.alive and not is_resting(look):
            self.machine.start_worker(folder)
        model = _model_id(folder) if look.outcome else ""
        return status_of(look, model=model, usd_per_hour=self.settings.gpu_usd_per_hour)

    @_spoken("read the job's outcome")
    def model(self, handle: Handle) -> ModelRef:
        """The adapter that a succeeded job made."""
        folder = self.machine.home.job(handle.id)
        look = self.machine.look(folder)
        if look.outcome is None or look.outcome.get("state") != "succeeded":
            raise NotFound(f"job {folder.id} has made no model (yet)")
        return ModelRef(
            backend=self.name,
            id=_model_id(folder),
            base_model=read_order(folder).base_model,
            owner="this machine",
        )

    # -- wishes --------------------------------------------------------------------------------

    @_spoken("cancel the job")
    def cancel(self, handle: Handle) -> None:
        """Leave the wish; the worker ends the trainer and all its children, and says so."""
        self._wish(handle, lambda folder: folder.wish_cancel.touch())

    @_spoken("pause the job")
    def pause(self, handle: Handle) -> None:
        """Leave the wish; the trainer saves a checkpoint and gives the device back."""
        self._wish(handle, lambda folder: folder.wish_pause.touch())

    @_spoken("resume the job")
    def resume(self, handle: Handle) -> None:
        """Take the wish back; a worker goes on from the checkpoint, when it is its turn."""
        self._wish(handle, lambda folder: folder.wish_pause.unlink(missing_ok=True))

    def _wish(self, handle: Handle, make: Callable[[JobFolder], None]) -> None:
        folder = self.machine.home.job(handle.id)
        look = self.machine.look(folder)
        if look.outcome is not None:
            return
        make(folder)
        if not look.alive:
            self.machine.start_worker(folder)

    # -- what it tells -------------------------------------------------------------------------

    @_spoken("read the training log")
    def events(self, handle: Handle, *, after: str | None) -> Iterator[RemoteEvent]:
        """The training log, oldest first; an event's id is where its line begins."""
        folder = self.machine.home.job(handle.id)
        self.machine.look(folder)
        return _events(folder.log, after)

    @_spoken("read the checkpoints")
    def checkpoints(self, handle: Handle) -> list[Checkpoint]:
        """Whole checkpoints that are kept, earliest step first."""
        folder = self.machine.home.job(handle.id)
        self.machine.look(folder)
        student = label(read_order(folder).base_model)
        return [
            Checkpoint(
                id=f"{folder.id}-{step}",
                model=str(ModelName(student=student, job=folder.id, step=step)),
                step=step,
            )
            for step, _ in folder.complete_checkpoints()
        ]

    def doctor(self) -> Iterable[Check]:
        """The folder, the device, the trainers, the hub."""
        return doctor.checks(self.machine, self.settings)

    @_spoken("list the jobs")
    def jobs(self) -> Iterator[tuple[Handle, RemoteStatus]]:
        """Every job in ``home``, newest first. Looking starts nothing."""
        home = self.machine.home
        folders = [JobFolder(path) for path in home.jobs.glob("[!.]*") if path.is_dir()]
        orders = [(read_order(folder), folder) for folder in folders if folder.spec.is_file()]
        orders.sort(key=lambda pair: (-pair[0].created_at, pair[1].id))
        for order, folder in orders:
            look = self.machine.look(folder)
            status = status_of(
                look, model=_model_id(folder), usd_per_hour=self.settings.gpu_usd_per_hour
            )
            yield _handle(folder, order.base_model), status


def _handle(folder: JobFolder, base_model: str) -> Handle:
    return Handle(kind="job", id=folder.id, data={"base_model": base_model})


def _model_id(folder: JobFolder) -> str:
    told = read_json(folder.spec) or {}
    return str(ModelName(student=label(str(told.get("base_model") or "")), job=folder.id))


def _events(log: Path, after: str | None) -> Iterator[RemoteEvent]:
    try:
        file = log.open("rb")
    except FileNotFoundError:
        return
    with file:
        if after is not None:
            file.seek(int(after))
            file.readline()
        while True:
            at = file.tell()
            line = file.readline()
            if not line.endswith(b"\n"):
                return  # the end, or a line that is being written
            told_ = orjson.loads(line)
            yield RemoteEvent(
                id=str(at),
                at=float(told_["at"]),
                level=str(told_["level"]),
                message=str(told_["message"]),
                metrics=told_["metrics"],
            )
