"""Batches: the file up, one request to start, looks, and what came back."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from understudy.backend import FindResult
from understudy.errors import BackendError, NotFound
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
    RemoteState,
    UploadStatus,
)
from understudy_openai import batch_limits, downloads, wire, wire_batch
from understudy_openai.connection import Connection, timeouts
from understudy_openai.uploads import file_name
from understudy_openai.wire_batch import BatchRecord
from understudy_openai.wire_errors import Failure

__all__ = ["Batches"]

PURPOSE = "batch"


class Batches(Connection, ABC):
    """Batches over one connection.

    A relative of this wire sets ``batch_url``, what the rows of its files ask, ``batch_endpoint``,
    what its create does, ``batch_ready``, the statuses of a file that a batch may use, and
    ``batch_upload``, what goes with an upload; and overrides what it does otherwise.
    """

    batch_url: str = wire_batch.CHAT
    batch_endpoint: str = wire_batch.CHAT
    batch_ready: frozenset[str] = wire.FILE_READY
    batch_upload: Mapping[str, Any] = {}

    # -- rows ----------------------------------------------------------------------------------

    def batch_limits(self, model: str) -> BatchLimits:
        """The published limits, with the enqueued tokens that the settings tell."""
        limit = batch_limits.enqueued_tokens(
            model, told=self.settings.batch_enqueued_tokens, tier=self.settings.usage_tier
        )
        return replace(batch_limits.LIMITS, enqueued_tokens=limit)

    def batch_row(self, request: ChatRequest, *, custom_id: str) -> Mapping[str, Json]:
        """The row that asks ``request``; pure."""
        return wire_batch.batch_row(request, custom_id=custom_id, url=self.batch_url)

    def batch_reply(self, row: Json) -> BatchReply:
        """What a row of the files says; pure."""
        return wire_batch.batch_reply(row, secrets=self.secrets())

    # -- files and start -----------------------------------------------------------------------

    def upload_batch(self, spec: BatchSpec, *, key: str) -> Handle:
        """Send the file, or find it complete from an earlier try."""
        name = file_name(key, PURPOSE)
        sent = self.uploader().send(spec.path, name, purpose=PURPOSE, **self.batch_upload)
        file = self.read(f"upload {name}", wire.file_record, sent)
        return Handle(kind="upload", id=file.id, data={"key": key, "input_file": file.id})

    def poll_batch_upload(self, handle: Handle) -> UploadStatus:
        """One look at the file."""
        return wire.upload_status([self.file(handle.id)], self.batch_ready)

    def start_batch(self, spec: BatchSpec, files: Handle, *, key: str) -> Handle:
        """Start the batch: one POST, no retry."""
        body = wire_batch.batch_body(
            files.id, key=key, metadata=spec.metadata, endpoint=self.batch_endpoint
        )
        what = f"start the batch of {spec.requests:,} requests to {spec.model}"
        reply = self.call(
            what,
            self.client.batches.with_raw_response.create,
            paid=True,
            timeout=timeouts(float(self.settings.request_timeout)),
            **body,
        )
        try:
            record = wire_batch.batch_record(reply)
        except ValueError:
            failure = Failure(kind="reply", message="it names no batch")
            raise self.error(failure, what=what, paid=True) from None
        return wire_batch.batch_handle(replace(record, input_file=files.id), key=key)

    def find_batch(self, key: str, files: Handle | None) -> FindResult:
        """The batch started under ``key``, and further ones, oldest first; the whole list is read.

        By its metadata, else by its file, which was uploaded for it alone.
        """
        file = None if files is None else files.id
        found = {
            record.id: record
            for record in self._records()
            if wire_batch.is_our_batch(record, key=key, file=file)
        }
        if not found:
            return Absent()
        ordered = sorted(found.values(), key=lambda record: record.created_at)
        first, *surplus = (wire_batch.batch_handle(record, key=key) for record in ordered)
        return Found(handle=first, surplus=tuple(surplus))

    def _records(self) -> Iterable[BatchRecord]:
        method = self.client.batches.with_raw_response.list
        for page in self.pages("list the batches", method):
            for row in wire.rows(page):
                if wire.text(row.get("id")):
                    yield wire_batch.batch_record(row, self.secrets())

    # -- looks ---------------------------------------------------------------------------------

    def poll_batch(self, handle: Handle) -> BatchStatus:
        """One look."""
        return self._record(handle).status

    def _record(self, handle: Handle) -> BatchRecord:
        what = f"look at batch {handle.id}"
        retrieve = self.client.batches.with_raw_response.retrieve
        parse = partial(wire_batch.batch_record, secrets=self.secrets())
        return self.read(what, parse, self.call(what, retrieve, batch_id=handle.id))

    def cancel_batch(self, handle: Handle) -> None:
        """Ask for it once; a batch that has ended, or is ending, is left alone."""
        method = self.client.batches.with_raw_response.cancel
        try:
            self.call(f"cancel batch {handle.id}", method, batch_id=handle.id, **self.verb_options)
        except BackendError as error:
            if error.status not in {400, 409}:
                raise
            state = self.poll_batch(handle).state
            if not state.terminal and state is not RemoteState.CANCELLING:
                raise

    # -- what came back ------------------------------------------------------------------------

    def fetch_batch(self, handle: Handle, folder: Path) -> BatchFiles:
        """Output and error file, where there are any."""
        record = self._record(handle)
        paths: list[str] = []
        gone: list[str] = []
        for name in dict.fromkeys((record.output_file, record.error_file)):
            if name is None:
                continue
            try:
                paths.append(str(self._fetch(name, folder)))
            except NotFound:
                gone.append(name)
        return BatchFiles(paths=tuple(paths), gone=tuple(gone))

    def _fetch(self, name: str, folder: Path) -> Path:
        file = self.file(name)
        opened = partial(self._content, name)
        return downloads.fetch(name, folder, size=file.bytes, opened=opened)

    def _content(self, name: str, start: int) -> AbstractContextManager[Any]:
        # Compressed bytes cannot be gone on with.
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        return self.streaming(
            f"read file {name}",
            self.client.files.with_streaming_response.content,
            file_id=name,
            extra_headers=headers,
        )
