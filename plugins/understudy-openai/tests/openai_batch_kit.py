"""Batches for tests: a file of rows that a backend made, and steps to a batch's end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson

from understudy.model import BatchReply, BatchSpec, BatchStatus, ChatRequest, Handle, UploadReady

MODEL = "gpt-4o-mini-2024-07-18"
KEY = "us-batch-0001"


class Pushed(Protocol):
    """A provider whose clock is pushed on."""

    def advance(self, seconds: float) -> None: ...


def batch_spec(
    backend: Any, folder: Path, texts: Sequence[str], *, model: str = MODEL, **sampling: Any
) -> BatchSpec:
    """A file that asks each of ``texts``; the custom ids are r0, r1, ..."""
    path = folder / "batch.jsonl"
    with path.open("wb") as file:
        for number, text in enumerate(texts):
            request = ChatRequest(
                model=model, messages=({"role": "user", "content": text},), sampling=sampling
            )
            file.write(orjson.dumps(backend.batch_row(request, custom_id=f"r{number}")) + b"\n")
    data = path.read_bytes()
    return BatchSpec(
        model=model,
        path=str(path),
        sha256=hashlib.sha256(data).hexdigest(),
        requests=len(texts),
        bytes=len(data),
        tokens=10 * len(texts),
        metadata={"run": "r-1"},
    )


def uploaded(
    backend: Any, spec: BatchSpec, *, sandbox: Pushed | None = None, key: str = KEY
) -> Handle:
    """Its file, taken in; ``sandbox`` is pushed on where that takes time."""
    files: Handle = backend.upload_batch(spec, key=key)
    for _ in range(20):
        if isinstance(backend.poll_batch_upload(files), UploadReady):
            return files
        assert sandbox is not None
        sandbox.advance(1)
    raise AssertionError("the file is never taken in")


def started(
    backend: Any, spec: BatchSpec, *, sandbox: Pushed | None = None, key: str = KEY
) -> Handle:
    """Its batch."""
    files = uploaded(backend, spec, sandbox=sandbox, key=key)
    handle: Handle = backend.start_batch(spec, files, key=key)
    return handle


def ended(backend: Any, sandbox: Pushed, handle: Handle, *, step: float = 2.0) -> BatchStatus:
    """The last look at a batch, whose provider's clock is pushed on until it has ended."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        look: BatchStatus = backend.poll_batch(handle)
        if look.state.terminal:
            return look
        sandbox.advance(step)
    raise AssertionError(f"the batch is still {look.raw}")


def replies(backend: Any, handle: Handle, folder: Path) -> dict[str, BatchReply]:
    """What became of each row, by its id."""
    found: dict[str, BatchReply] = {}
    for path in backend.fetch_batch(handle, folder).paths:
        with Path(path).open("rb") as lines:
            for line in lines:
                reply = backend.batch_reply(orjson.loads(line))
                assert reply.custom_id not in found
                found[reply.custom_id] = reply
    return found
