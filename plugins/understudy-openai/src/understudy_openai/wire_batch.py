"""Batches on OpenAI's wire: statuses, rows asked, rows answered. Pure; quirks live here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from understudy.errors import DataError
from understudy.model import (
    BatchReply,
    BatchStatus,
    ChatReply,
    ChatRequest,
    Handle,
    Json,
    RemoteProblem,
    RemoteState,
    Usage,
)
from understudy_openai import wire
from understudy_openai.redaction import redact
from understudy_openai.wire_chat import chat_body, chat_reply

__all__ = [
    "BATCH_STATES",
    "CHAT",
    "BatchRecord",
    "batch_body",
    "batch_handle",
    "batch_record",
    "batch_reply",
    "batch_row",
    "is_our_batch",
]

CHAT = "/v1/chat/completions"
"""The one endpoint that Understudy asks by batch."""

_S = RemoteState
BATCH_STATES: Mapping[str, RemoteState] = {
    "validating": _S.QUEUED,
    "queued": _S.QUEUED,
    "in_progress": _S.RUNNING,
    "running": _S.RUNNING,
    "finalizing": _S.RUNNING,
    "completed": _S.SUCCEEDED,
    "success": _S.SUCCEEDED,  # Mistral
    "failed": _S.FAILED,
    "expired": _S.SUCCEEDED,  # what was done until then is in its output file, and billed
    "cancelling": _S.CANCELLING,
    "cancelled": _S.CANCELLED,
    "canceled": _S.CANCELLED,
}
_OVER_QUOTA = frozenset({"token_limit_exceeded", "tokenlimitexceeded"})
_ENQUEUED = re.compile(r"(?i)\benqueued[ _]tokens?\b.*\blimit\b|\blimit\b.*\benqueued[ _]tokens?\b")
_FILTERED = re.compile(r"(?i)content[ _]?(?:filter|policy|management)|responsible_?ai|moderation")
_WAITING = frozenset({"batch_expired", "batch_cancelled", "rate_limit_exceeded", "server_error"})
_MOST_METADATA = 16

Outcome = Literal["retry", "refused", "invalid"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchRecord:
    """A batch as the wire shows it. One that expired or was cancelled may have output too."""

    id: str
    status: BatchStatus
    input_file: str | None
    output_file: str | None
    error_file: str | None
    created_at: float
    metadata: Mapping[str, str]


# -- batches -----------------------------------------------------------------------------------


def batch_body(
    file: str, *, key: str, metadata: Mapping[str, str], endpoint: str = CHAT
) -> dict[str, Json]:
    """The body of the create, with the key in its metadata, of which 16 pairs fit."""
    kept = dict(list(metadata.items())[: _MOST_METADATA - 1])
    return {
        "input_file_id": file,
        "endpoint": endpoint,
        "completion_window": "24h",
        "metadata": {**kept, wire.KEY: key},
    }


def batch_record(body: Json, secrets: Iterable[str] = ()) -> BatchRecord:
    """A batch, judged by ``status`` alone. Raises ValueError: it has no id."""
    body = wire.mapping(body)
    return BatchRecord(
        id=wire.identity(body),
        status=_status(body, tuple(secrets)),
        input_file=wire.text(body.get("input_file_id")),
        output_file=wire.text(body.get("output_file_id")) or wire.text(body.get("output_file")),
        error_file=wire.text(body.get("error_file_id")) or wire.text(body.get("error_file")),
        created_at=wire.time(body.get("created_at")) or 0.0,
        metadata=wire.metadata(body),
    )


def _status(body: Mapping[str, Json], secrets: tuple[str, ...]) -> BatchStatus:
    raw = wire.text(body.get("status")) or ""
    state = BATCH_STATES.get(raw.strip().lower(), _S.UNKNOWN)
    counts = wire.mapping(body.get("request_counts"))
    trouble = _trouble(body, secrets) if state is _S.FAILED else None
    shown = redact(raw, secrets, limit=40)
    total, completed, failed = (
        wire.count(counts.get(name)) for name in ("total", "completed", "failed")
    )
    usage = _usage(body)
    fields: dict[str, Json] = {
        "status": shown,
        "total": total,
        "completed": completed,
        "failed": failed,
        "input_tokens": usage.input if usage else None,
        "output_tokens": usage.output if usage else None,
        "error_code": trouble.code if trouble else None,
        "error_message": trouble.message if trouble else None,
    }
    return BatchStatus(
        state=state,
        raw=shown,
        total=total,
        completed=completed,
        failed=failed,
        problem=trouble,
        over_quota=state is _S.FAILED and is_over_quota(body),
        usage=usage,
        fields={name: value for name, value in fields.items() if value is not None},
    )


def _errors(body: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    return wire.rows(body.get("errors"))


def _trouble(body: Mapping[str, Json], secrets: tuple[str, ...]) -> RemoteProblem:
    found = (wire.problem({"error": row}, secrets) for row in _errors(body))
    first = next((one for one in found if one is not None), None)
    return first or RemoteProblem(message="the provider gives no reason", code="failed")


def is_over_quota(body: Mapping[str, Json]) -> bool:
    """Whether the enqueued-token limit made it fail, after the create; told by code or in words."""
    return any(
        str(row.get("code")).lower() in _OVER_QUOTA
        or _ENQUEUED.search(str(row.get("message"))) is not None
        for row in _errors(body)
    )


def _usage(body: Mapping[str, Json]) -> Usage | None:
    """What it says it will bill: most batches that ended show zeros, which say nothing."""
    told = wire.mapping(body.get("usage"))
    inputs, outputs = (wire.count(told.get(f"{way}_tokens")) for way in ("input", "output"))
    if not inputs and not outputs:
        return None
    cached = wire.mapping(told.get("input_tokens_details")).get("cached_tokens")
    return Usage(input=inputs or 0, output=outputs or 0, cached=wire.count(cached) or 0)


def is_our_batch(record: BatchRecord, *, key: str, file: str | None) -> bool:
    """Whether it was started under ``key``: by metadata, else by its file."""
    told = record.metadata.get(wire.KEY)
    return told == key if told is not None else file is not None and record.input_file == file


def batch_handle(record: BatchRecord, *, key: str) -> Handle:
    """What is kept to find the batch again."""
    data: dict[str, Json] = {"key": key, "created_at": record.created_at}
    if record.input_file is not None:
        data["input_file"] = record.input_file
    return Handle(kind="batch", id=record.id, data=data)


# -- rows --------------------------------------------------------------------------------------


def batch_row(request: ChatRequest, *, custom_id: str, url: str = CHAT) -> dict[str, Json]:
    """The row that asks ``request``."""
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": chat_body(request)}


def batch_reply(row: Json, *, secrets: Iterable[str] = ()) -> BatchReply:
    """What a row of an output or error file says.

    Raises:
        DataError: it names no request.
    """
    custom_id = row.get("custom_id") if isinstance(row, dict) else None
    if not isinstance(custom_id, str) or not custom_id:
        message = "the row names no request; what it answers is asked again"
        raise DataError(message, field="custom_id")
    response = wire.mapping(row.get("response"))
    body, error = response.get("body"), row.get("error")
    status = response.get("status_code")
    if status == 200 and not error:
        try:
            reply = chat_reply(body, asked="")
        except ValueError:
            why = RemoteProblem(message="the row is there, but its answer is cut", code="truncated")
            return BatchReply(custom_id=custom_id, outcome="retry", problem=why)
        return _answered(custom_id, reply)
    return _failed(custom_id, status, error or wire.mapping(body).get("error"), tuple(secrets))


def _answered(custom_id: str, reply: ChatReply) -> BatchReply:
    if reply.finish_reason != "content_filter":
        return BatchReply(custom_id=custom_id, outcome="answered", reply=reply)
    why = RemoteProblem(message="a content filter cut the answer", code="content_filter")
    return BatchReply(custom_id=custom_id, outcome="refused", reply=reply, problem=why)


def _failed(custom_id: str, status: Json, error: Json, secrets: tuple[str, ...]) -> BatchReply:
    http = status if isinstance(status, int) and not isinstance(status, bool) else None
    told = error if isinstance(error, dict) else {"message": wire.text(error)}
    found = wire.problem({"error": _plain(told)}, secrets)
    code = found.code if found and found.code else str(http) if http else "no_reason"
    message = found.message if found else f"the provider answered {http or 'nothing'}"
    return BatchReply(
        custom_id=custom_id,
        outcome=_outcome(http, told),
        problem=RemoteProblem(message=message, code=code, param=found.param if found else None),
    )


def _plain(error: Mapping[str, Json]) -> dict[str, Json]:
    # Azure sends some codes as numbers.
    code = error.get("code")
    return {**error, "code": str(code) if isinstance(code, int) else code}


def _outcome(status: int | None, error: Mapping[str, Json]) -> Outcome:
    """Whether asking again may help: it does not where the provider judged the request itself."""
    code = str(error.get("code") or "").lower()
    words = " ".join(str(error.get(name) or "") for name in ("code", "type", "message"))
    if status in {400, 403, None} and _FILTERED.search(words):
        return "refused"
    if code in _WAITING or status is None or status < 400:
        return "retry"
    return "retry" if status >= 500 or status in {408, 409, 424, 425, 429} else "invalid"
