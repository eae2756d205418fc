"""The pure mapping of OpenAI's wire to Understudy's records. No I/O, no SDK; quirks live here.

Every function takes parsed JSON of any shape and raises ``ValueError`` only where the thing it is
asked for has no identity. Absent, null and ``""`` all mean *none* on this wire.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from understudy.model import (
    Checkpoint,
    Handle,
    Json,
    Lifecycle,
    Progress,
    RemoteEvent,
    RemoteProblem,
    RemoteState,
    RemoteStatus,
    UploadFailed,
    UploadPending,
    UploadReady,
    UploadStatus,
)
from understudy_openai.redaction import redact
from understudy_openai.wire_values import (
    count,
    has_more,
    identity,
    mapping,
    numbers,
    rows,
    text,
    time,
)

__all__ = [
    "FILE_READY",
    "JOB_STATES",
    "KEY",
    "FileRecord",
    "ModelRecord",
    "checkpoint",
    "count",
    "event",
    "file_record",
    "has_more",
    "identity",
    "is_ours",
    "job_handle",
    "job_state",
    "job_status",
    "lifecycle",
    "mapping",
    "metadata",
    "model_record",
    "numbers",
    "problem",
    "rows",
    "text",
    "time",
    "training_file",
    "upload_status",
]

KEY = "understudy_key"
"""The metadata key under which a job carries the key of its intent."""

_S = RemoteState
JOB_STATES: Mapping[str, RemoteState] = {
    "created": _S.QUEUED,  # OpenAI until 2023-10, Azure
    "pending": _S.QUEUED,  # /v1/fine-tunes of 2021, Azure
    "validating_files": _S.QUEUED,
    "queued": _S.QUEUED,
    "running": _S.RUNNING,
    "pausing": _S.PAUSING,
    "paused": _S.PAUSED,
    "resuming": _S.RESUMING,
    "succeeded": _S.SUCCEEDED,
    "failed": _S.FAILED,
    "cancelling": _S.CANCELLING,
    "cancelled": _S.CANCELLED,
    "canceled": _S.CANCELLED,
}
FILE_READY = frozenset({"uploaded", "processed", ""})
_FILE_BAD = frozenset({"error", "deleted", "deleting"})


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRecord:
    """A file as the provider sees it. ``bytes`` is its size, None if not told."""

    id: str
    filename: str
    bytes: int | None
    status: str
    created_at: float | None
    purpose: str
    deleted: bool = False
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRecord:
    """A model as the provider lists it. ``shutdown_date`` is an ISO day or None."""

    id: str
    owner: str | None
    shutdown_date: str | None
    deleted: bool = False


# -- fine-tuning jobs --------------------------------------------------------------------------


def job_state(raw: str) -> RemoteState:
    """Our word for the provider's; letter case is ignored and an unknown word is UNKNOWN."""
    return JOB_STATES.get(raw.strip().lower(), _S.UNKNOWN)


def training_file(body: Json) -> str | None:
    """The training file's id; jobs of 2021-2023 (`fine-tune`) list whole file objects."""
    body = mapping(body)
    listed = rows(body.get("training_files"))
    return text(body.get("training_file")) or (text(listed[0].get("id")) if listed else None)


def metadata(body: Json) -> Mapping[str, str]:
    """The metadata of a job or batch; null, ``{}`` and absent are one."""
    found = mapping(mapping(body).get("metadata"))
    return {key: value for key, value in found.items() if isinstance(value, str)}


def is_ours(body: Json, *, key: str, file: str | None) -> bool:
    """Whether the job was created under ``key``: by metadata, else by its training file.

    Servers that keep no metadata leave only the file, which was uploaded for that intent alone.
    """
    told = metadata(body).get(KEY)
    return told == key if told is not None else file is not None and training_file(body) == file


def job_handle(body: Json) -> Handle:
    """What is kept to find the job again. Raises ValueError: it has no id."""
    data = {
        "created_at": time(mapping(body).get("created_at")),
        "training_file": training_file(body),
        "base_model": text(mapping(body).get("model")),
        "key": metadata(body).get(KEY),
    }
    kept = {name: value for name, value in data.items() if value is not None}
    return Handle(kind="job", id=identity(body), data=kept)


def problem(body: Json, secrets: Iterable[str] = ()) -> RemoteProblem | None:
    """Why it failed. ``error`` may be ``{}`` or all null on jobs that did not fail."""
    error = mapping(mapping(body).get("error"))
    secrets = tuple(secrets)
    code = redact(error.get("code"), secrets, limit=80) or None
    message = redact(error.get("message"), secrets)
    param = redact(error.get("param"), secrets, limit=80) or None
    if not (code or message):
        return None
    return RemoteProblem(message=message or f"error {code}", code=code, param=param)


def job_status(body: Json, secrets: Iterable[str] = ()) -> RemoteStatus:
    """One look at a job, judged by ``status`` alone."""
    body = mapping(body)
    raw = body.get("status")
    raw = raw if isinstance(raw, str) else ""
    state = job_state(raw)
    trouble = problem(body, secrets) if state is _S.FAILED else None
    if state is _S.FAILED and trouble is None:
        trouble = RemoteProblem(message="the provider gives no reason")
    model = text(body.get("fine_tuned_model"))
    tokens = count(body.get("trained_tokens"))
    finish = time(body.get("estimated_finish"))
    fields: dict[str, Json] = {
        "status": redact(raw, secrets, limit=40),
        "trained_tokens": tokens,
        "fine_tuned_model": model,
        "finished_at": time(body.get("finished_at")),
        "estimated_finish": finish,
        "error_code": trouble.code if trouble else None,
        "error_message": trouble.message if trouble else None,
    }
    return RemoteStatus(
        state=state,
        raw=redact(raw, secrets, limit=40),
        problem=trouble,
        progress=Progress(finish_at=finish) if finish and not state.terminal else None,
        model=model,
        trained_tokens=tokens,
        fields={name: value for name, value in fields.items() if value is not None},
    )


def event(body: Json, secrets: Iterable[str] = ()) -> RemoteEvent:
    """One line of the training log; events before 2023 have no id, so one is made."""
    body = mapping(body)
    at = time(body.get("created_at")) or 0.0
    message = redact(body.get("message"), secrets)
    made = hashlib.sha256(f"{at}|{message}".encode()).hexdigest()[:16]
    return RemoteEvent(
        id=text(body.get("id")) or f"event-{made}",
        at=at,
        level=text(body.get("level")) or "info",
        message=message,
        metrics=numbers(body.get("data")),
    )


def checkpoint(body: Json) -> Checkpoint:
    """A model of an earlier step; the last one's name has no ``:ckpt-step`` part."""
    body = mapping(body)
    metrics = numbers(body.get("metrics"))
    step = count(body.get("step_number"))
    model = text(body.get("fine_tuned_model_checkpoint"))
    if model is None:
        message = "the checkpoint names no model"
        raise ValueError(message)
    return Checkpoint(
        id=identity(body),
        model=model,
        step=step if step is not None else int(metrics.get("step", 0)),
        metrics=metrics,
    )


# -- files, models -----------------------------------------------------------------------------


def file_record(body: Json, secrets: Iterable[str] = ()) -> FileRecord:
    """A file, or the answer to its deletion."""
    body = mapping(body)
    return FileRecord(
        id=identity(body),
        filename=text(body.get("filename")) or "",
        bytes=count(body.get("bytes")),
        status=(text(body.get("status")) or "").lower(),
        created_at=time(body.get("created_at")),
        purpose=text(body.get("purpose")) or "",
        deleted=body.get("deleted") is True,
        detail=redact(body.get("status_details"), secrets),
    )


def upload_status(files: Iterable[FileRecord], ready: frozenset[str] = FILE_READY) -> UploadStatus:
    """Whether files can be trained on. OpenAI takes ``uploaded`` files; an unknown word waits."""
    status: UploadStatus = UploadReady()
    for file in files:
        if file.deleted or file.status in _FILE_BAD:
            why = file.detail or "the provider gives no reason"
            word = "deleted" if file.deleted else file.status
            return UploadFailed(message=f"file {file.id} is {word!r}: {why}", code=word)
        if file.status not in ready:
            status = UploadPending()
    return status


def model_record(body: Json) -> ModelRecord:
    """A model, or the answer to its deletion."""
    body = mapping(body)
    day = text(body.get("shutdown_date"))
    return ModelRecord(
        id=identity(body),
        owner=text(body.get("owned_by")),
        shutdown_date=day[:10] if day and time(day[:10]) else None,
        deleted=body.get("deleted") is True,
    )


TRAINING_ENDS: Mapping[str, tuple[str, str]] = {
    "api.openai.com": ("2027-01-06", "OpenAI's deprecations page as read on 2026-11-22"),
}
"""Host to the first day without new fine-tuning jobs, and who says so: no endpoint tells it."""


def lifecycle(body: Json, *, host: str) -> Lifecycle:
    """Dates of a model from ``GET /models/{model}``, and the provider-wide end of training."""
    record = model_record(body)
    source = f"shutdown_date of GET /models at {host}"
    ends, who = TRAINING_ENDS.get(host, (None, ""))
    if ends is not None:
        source = f"{source}; end of training: {who}"
    days = [day for day in (ends, record.shutdown_date) if day is not None]
    return Lifecycle(
        model=record.id,
        inference_until=record.shutdown_date,
        training_until=min(days, default=None),
        source=source,
    )
