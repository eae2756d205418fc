"""``SupportsBatch`` of the local backend: a process that asks the model's server row by row.

It costs nothing more or less than live answers; it is there so that whatever works by batch works
with a local student too, and goes on after a crash.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from understudy.backend import FindResult
from understudy.errors import DataError, NotEligible, NotFound, OutcomeUnknown, Unavailable
from understudy.model import (
    Absent,
    BatchFiles,
    BatchLimits,
    BatchReply,
    BatchSpec,
    BatchStatus,
    ChatRequest,
    Found,
    Handle,
    Json,
    RemoteProblem,
    RemoteState,
    UploadFailed,
    UploadReady,
    UploadStatus,
)
from understudy_local.artifacts import Home, folder_id, sha256_of
from understudy_local.machine import told as trouble
from understudy_local.serving import batch_rows
from understudy_local.serving.batch_work import OUTPUT, WISH
from understudy_local.serving.models import served
from understudy_local.settings import LocalSettings
from understudy_local.work import Work, attend, begin, kept_settings

__all__ = ["Batching"]

_WORKER = "understudy_local.serving.batch_work"
_ROWS = "rows.jsonl"
_LIMITS = BatchLimits(
    requests=50_000,
    bytes=200_000_000,
    window=30 * 24 * 3600.0,
    source="Understudy's own choice, as large as other backends'; nothing expires here",
)
_STATES = {
    "succeeded": RemoteState.SUCCEEDED,
    "cancelled": RemoteState.CANCELLED,
    "failed": RemoteState.FAILED,
}
_PIECE = 1 << 20


class Batching:
    """Batches of requests to local models."""

    settings: LocalSettings

    def batch_limits(self, model: str) -> BatchLimits:
        """What one batch may hold.

        Raises:
            NotEligible: there is no file of that model here.
        """
        try:
            served(Home(self.settings.home), model)
        except NotFound as error:
            raise NotEligible(str(error)) from None
        return _LIMITS

    def batch_row(self, request: ChatRequest, *, custom_id: str) -> Mapping[str, Json]:
        """The row that asks ``request``."""
        return batch_rows.asked(request, custom_id=custom_id)

    def batch_reply(self, row: Json) -> BatchReply:
        """What a row of the output says."""
        return batch_rows.reply_of_row(row)

    def upload_batch(self, spec: BatchSpec, *, key: str) -> Handle:
        """Copy the rows into a folder of this intent alone.

        Raises:
            DataError: the file is not the one that was described.
        """
        target = self._rows(folder_id(key))
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target.is_file() and sha256_of(target) == spec.sha256):
            part = target.with_suffix(f".{os.getpid()}.part")
            shutil.copyfile(spec.path, part)
            if sha256_of(part) != spec.sha256:
                part.unlink()
                raise DataError("has changed since it was written; plan it again", file=spec.path)
            part.replace(target)
        return Handle(kind="upload", id=folder_id(key), data={"sha256": spec.sha256})

    def poll_batch_upload(self, handle: Handle) -> UploadStatus:
        """Whether the rows are there."""
        path = self._rows(handle.id)
        if path.is_file():
            return UploadReady()
        return UploadFailed(message=f"{path} is gone; send the batch again")

    def start_batch(self, spec: BatchSpec, files: Handle, *, key: str) -> Handle:
        """Make the batch's folder and start its process; one key is one folder."""
        work = self._batch(folder_id(key))
        told = {
            "key": key,
            "model": spec.model,
            "rows": os.fspath(self._rows(files.id)),
            "requests": spec.requests,
            "settings": kept_settings(self.settings),
        }
        try:
            self._begin_batch(work, told)
        except OSError as error:
            if not work.path.exists():
                raise trouble(error, what="begin the batch", home=work.path.parent) from None
            raise OutcomeUnknown(
                f"{work.path} was made, and then: {error.strerror}; look for it"
            ) from None
        return Handle(kind="batch", id=work.id)

    def _begin_batch(self, work: Work, told: Mapping[str, Json]) -> None:
        begin(work, told)
        self._attend_batch(work)

    def find_batch(self, key: str, files: Handle | None) -> FindResult:  # noqa: ARG002
        """The folder that is named by the key, there or not."""
        work = self._batch(folder_id(key))
        return Found(handle=Handle(kind="batch", id=work.id)) if work.path.is_dir() else Absent()

    def poll_batch(self, handle: Handle) -> BatchStatus:
        """One look; a batch that nobody does any more is taken up again."""
        work = self._batch(handle.id)
        total = int(work.spec()["requests"])
        self._attend_batch(work)
        outcome = work.outcome()
        told = work.progress() if outcome is None else outcome
        problem = told.get("problem")
        raw = "running" if outcome is None else str(outcome["state"])
        return BatchStatus(
            state=_STATES.get(raw, RemoteState.RUNNING),
            raw=raw,
            total=total,
            completed=int(told.get("completed", 0)),
            failed=int(told.get("failed", 0)),
            problem=None if problem is None else RemoteProblem(**problem),
        )

    def cancel_batch(self, handle: Handle) -> None:
        """Leave a wish; the process ends after the requests at hand."""
        work = self._batch(handle.id)
        work.spec()
        if work.outcome() is None:
            (work.path / WISH).touch()

    def fetch_batch(self, handle: Handle, folder: Path) -> BatchFiles:
        """Copy the output, from where an earlier copy broke off."""
        work = self._batch(handle.id)
        work.spec()
        source, target = work.path / OUTPUT, folder / OUTPUT
        if target.is_file():
            return BatchFiles(paths=(str(target),))
        if not source.is_file():
            return BatchFiles(gone=(str(source),))
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{OUTPUT}.part"
        try:
            with source.open("rb") as there, part.open("ab") as here:
                there.seek(here.tell())
                self._copy(there, here)
        except OSError as error:
            raise Unavailable(
                f"{source} could not be copied to {folder} ({error.strerror}); it goes on there"
            ) from None
        part.replace(target)
        return BatchFiles(paths=(str(target),))

    def _copy(self, there: BinaryIO, here: BinaryIO) -> None:
        shutil.copyfileobj(there, here, _PIECE)

    def _rows(self, upload: str) -> Path:
        return self._folder(upload) / "uploads" / upload / _ROWS

    def _batch(self, name: str) -> Work:
        return Work(self._folder(name) / name)

    def _folder(self, name: str) -> Path:
        if name != folder_id(name):
            raise NotFound(f"{name!r} is no batch of this backend")
        return Home(self.settings.home).path / "batches"

    def _attend_batch(self, work: Work) -> None:
        attend(work, _WORKER, max_restarts=self.settings.max_restarts, environment={})
