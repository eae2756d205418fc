"""Rows of local batches, as they stand in the files; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.errors import BackendError, DataError, TransientError
from understudy.model import BatchReply, ChatReply, ChatRequest, Json, RemoteProblem
from understudy_local.serving import wire

__all__ = ["answered", "asked", "refused", "reply_of_row", "request_of"]

_FIELDS = frozenset({"model", "messages", "tools", "response_format"})


def asked(request: ChatRequest, *, custom_id: str) -> dict[str, Json]:
    """The row that asks ``request``."""
    return {"custom_id": custom_id, "body": wire.body_of(request)}


def request_of(row: Mapping[str, Any]) -> ChatRequest:
    """The request of a row. Raises ``KeyError`` or ``TypeError`` where it is none."""
    body = dict(row["body"])
    return ChatRequest(
        model=str(body["model"]),
        messages=tuple(body["messages"]),
        tools=tuple(body.get("tools") or ()),
        response_format=body.get("response_format"),
        sampling={name: value for name, value in body.items() if name not in _FIELDS},
    )


def answered(custom_id: str, reply: ChatReply) -> dict[str, Json]:
    """The row of an answer."""
    usage = {"prompt_tokens": reply.usage.input, "completion_tokens": reply.usage.output}
    choice = {"message": dict(reply.message), "finish_reason": reply.finish_reason}
    return {
        "custom_id": custom_id,
        "model": reply.model,
        "body": {"choices": [choice], "usage": usage},
    }


def refused(custom_id: str, error: BackendError) -> dict[str, Json]:
    """The row of a request that has no answer."""
    return {
        "custom_id": custom_id,
        "error": {
            "message": str(error),
            "code": error.code or (str(error.status) if error.status else None),
            "again": isinstance(error, TransientError),
        },
    }


def reply_of_row(row: Json) -> BatchReply:
    """What ``answered`` or ``refused`` wrote.

    Raises:
        DataError: it names no request.
    """
    if not isinstance(row, Mapping) or not isinstance(row.get("custom_id"), str):
        raise DataError("a row of a local batch names no request; it counts as lost")
    custom_id: str = row["custom_id"]
    trouble = row.get("error")
    if trouble is not None:
        problem = RemoteProblem(message=trouble["message"], code=trouble["code"])
        again = bool(trouble["again"])
        return BatchReply(
            custom_id=custom_id, outcome="retry" if again else "invalid", problem=problem
        )
    reply = wire.reply_of(row["body"], model=row["model"])
    return BatchReply(custom_id=custom_id, outcome="answered", reply=reply)
