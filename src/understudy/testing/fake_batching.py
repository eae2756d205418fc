"""``FakeBackend`` for a provider that takes batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from understudy.backend import BackendSpec, Clock, FindResult, Support
from understudy.errors import BackendError, DataError, NotFound, OutcomeUnknown, Unavailable
from understudy.hookspecs import hookimpl
from understudy.model import (
    Absent,
    BatchFiles,
    BatchLimits,
    BatchReply,
    BatchSpec,
    BatchStatus,
    ChatReply,
    ChatRequest,
    Found,
    Handle,
    Json,
    RemoteProblem,
    RemoteState,
    UploadStatus,
    Usage,
)
from understudy.testing.fake_backend import FAKE_SPEC, FakeBackend, FakeSettings
from understudy.testing.fake_batches import BatchingFakeProvider
from understudy.testing.fake_provider import FakeConnectionError, FakeHTTPError

__all__ = ["BATCHING_FAKE_SPEC", "BATCH_STATUSES", "BatchingFakeBackend", "understudy_backends"]

LIMITS = BatchLimits(
    requests=1_000,
    bytes=1_000_000,
    window=24 * 3600.0,
    enqueued_tokens=100_000,
    source="the fake provider's own",
)
BATCHING_FAKE_SPEC: BackendSpec = replace(
    FAKE_SPEC,
    name="fake-batching",
    target="understudy.testing.fake_batching:BatchingFakeBackend",
    summary="a provider in memory that takes batches, for tests",
    capabilities=replace(FAKE_SPEC.capabilities, batch=Support.yes(), batch_limits=LIMITS),
)
BATCH_STATUSES: Mapping[str, RemoteState] = {
    "validating": RemoteState.QUEUED,
    "in_progress": RemoteState.RUNNING,
    "completed": RemoteState.SUCCEEDED,
    "expired": RemoteState.SUCCEEDED,
    "failed": RemoteState.FAILED,
    "cancelling": RemoteState.CANCELLING,
    "cancelled": RemoteState.CANCELLED,
}
"""Every status that the fake provider documents for batches."""


class BatchingFakeBackend(FakeBackend):
    """Keeps the contract of ``SupportsBatch`` over a ``BatchingFakeProvider``."""

    def __init__(
        self,
        *,
        name: str = "fake",
        settings: FakeSettings | None = None,
        clock: Clock | None = None,
        provider: BatchingFakeProvider | None = None,
    ) -> None:
        settings = settings or FakeSettings()
        if provider is None:
            named = BatchingFakeProvider.named
            made = named.setdefault(f"{settings.provider}+batching", BatchingFakeProvider())
            provider = cast("BatchingFakeProvider", made)
        self.desk = provider
        super().__init__(name=name, settings=settings, clock=clock, provider=provider)

    def batch_limits(self, model: str) -> BatchLimits:  # noqa: ARG002
        """The same for all models."""
        return LIMITS

    def batch_row(self, request: ChatRequest, *, custom_id: str) -> Mapping[str, Json]:
        """The id and the request."""
        body = {"model": request.model, "messages": [dict(row) for row in request.messages]}
        return {"custom_id": custom_id, "body": body | dict(request.sampling)}

    def batch_reply(self, row: Json) -> BatchReply:
        """An answer, or that the row expired."""
        name = row.get("custom_id") if isinstance(row, dict) else None
        if not name:
            raise DataError("the row names no request; it is asked again", field="custom_id")
        if row.get("error"):
            why = RemoteProblem(message="not done in time", code=row["error"])
            return BatchReply(custom_id=name, outcome="retry", problem=why)
        found = row["answer"]
        reply = ChatReply(
            message={"role": "assistant", "content": found["content"]},
            finish_reason="stop",
            usage=Usage(input=found["input"], output=found["output"]),
            model=found["model"],
        )
        return BatchReply(custom_id=name, outcome="answered", reply=reply)

    def upload_batch(self, spec: BatchSpec, *, key: str) -> Handle:
        """The file is named after the key, so that a second call finds it."""
        name = f"{key}.batch.jsonl"
        for file in self._ask(self.desk.list_files):
            if file["name"] == name:
                return Handle(kind="upload", id=file["id"])
        file = self._ask(self.desk.upload, name, Path(spec.path).read_bytes())
        return Handle(kind="upload", id=file["id"])

    def poll_batch_upload(self, handle: Handle) -> UploadStatus:
        """One look at the file."""
        return self.poll_upload(handle)

    def start_batch(self, spec: BatchSpec, files: Handle, *, key: str) -> Handle:
        """One request; anything but a clear refusal leaves the outcome unknown."""
        body = {"input_file": files.id, "metadata": {**spec.metadata, "key": key}}
        try:
            made = self._send_batch(body)
        except (FakeHTTPError, FakeConnectionError) as error:
            known: BackendError = self._error(error)
            if isinstance(known, Unavailable):
                known = OutcomeUnknown(
                    f"{self.name}: the batch of {key} got no clear answer; look for it by key",
                    status=known.status,
                )
            raise known from None
        return self._batch_handle(made)

    def _send_batch(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return self.desk.create_batch(self._key(), body)

    def find_batch(self, key: str, files: Handle | None) -> FindResult:  # noqa: ARG002
        """Reads the whole list."""
        listed = reversed(self._ask(self.desk.list_batches))
        found = [self._batch_handle(one) for one in listed if one["metadata"]["key"] == key]
        if found:
            return Found(handle=found[0], surplus=tuple(found[1:]))
        return Absent()

    def poll_batch(self, handle: Handle) -> BatchStatus:
        """One look."""
        one = self._ask(self.desk.batch, handle.id)
        over = one["error"] == "over_quota"
        why = "more requests are enqueued than fit; send it again when a batch has ended"
        return BatchStatus(
            state=self._batch_state(one["status"]),
            raw=one["status"],
            total=one["total"],
            problem=RemoteProblem(message=why, code=one["error"]) if one["error"] else None,
            over_quota=over,
        )

    def _batch_state(self, raw: str) -> RemoteState:
        return BATCH_STATUSES.get(raw, RemoteState.UNKNOWN)

    def cancel_batch(self, handle: Handle) -> None:
        """Ended batches stay as they are."""
        try:
            self.desk.cancel_batch(self._key(), handle.id)
        except FakeHTTPError as error:
            if error.status != 409:
                raise self._error(error) from None

    def fetch_batch(self, handle: Handle, folder: Path) -> BatchFiles:
        """Piece by piece, on from what is there."""
        one = self._ask(self.desk.batch, handle.id)
        folder.mkdir(parents=True, exist_ok=True)
        paths, gone = [], []
        for name in (one["output"], one["errors"]):
            if name is not None:
                try:
                    paths.append(str(self._fetch(name, folder)))
                except NotFound:
                    gone.append(name)
        return BatchFiles(paths=tuple(paths), gone=tuple(gone))

    def _fetch(self, name: str, folder: Path) -> Path:
        target, part = folder / f"{name}.jsonl", folder / f"{name}.part"
        if target.exists():
            return target
        with part.open("ab") as file:
            while piece := self._ask(self.desk.read_file, name, file.tell()):
                file.write(piece)
                file.flush()
        return part.replace(target)

    def _batch_handle(self, one: Mapping[str, Any]) -> Handle:
        return Handle(kind="batch", id=one["id"], data={"input_file": one["input_file"]})


@hookimpl
def understudy_backends() -> Iterable[BackendSpec]:
    """Yield the batching fake; this module serves as a plugin, too."""
    yield BATCHING_FAKE_SPEC
