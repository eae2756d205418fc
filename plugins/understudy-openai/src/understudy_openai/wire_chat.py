"""Chat completions: the question as it goes out, the answer as it comes back. Pure."""

from __future__ import annotations

from typing import Any

from understudy.model import ChatReply, ChatRequest, Json, Usage
from understudy_openai import wire

__all__ = ["chat_body", "chat_reply"]

_NEWER_LIMIT = ("o1", "o3", "o4", "gpt-5", "gpt-6", "ft:o1", "ft:o3", "ft:o4", "ft:gpt-5")


def chat_body(request: ChatRequest) -> dict[str, Any]:
    """The body of a chat completion; reasoning models refuse ``max_tokens`` by that name."""
    body: dict[str, Any] = dict(request.sampling)
    if request.model.startswith(_NEWER_LIMIT) and "max_tokens" in body:
        body["max_completion_tokens"] = body.pop("max_tokens")
    if request.tools:
        body["tools"] = [dict(tool) for tool in request.tools]
    if request.response_format is not None:
        body["response_format"] = dict(request.response_format)
    return body | {"model": request.model, "messages": [dict(row) for row in request.messages]}


def chat_reply(body: Json, *, asked: str) -> ChatReply:
    """One answer. Raises ValueError: there is no choice in it.

    Where the server gives no usage it is all zero and marked as to be counted on this side.
    """
    body = wire.mapping(body)
    choices = body.get("choices")
    first = wire.mapping(choices[0]) if isinstance(choices, list) and choices else {}
    message = first.get("message")
    if not isinstance(message, dict):
        complaint = "the reply holds no answer"
        raise ValueError(complaint)  # noqa: TRY004 - the wire is wrong, not the caller
    usage = wire.mapping(body.get("usage"))
    told = wire.count(usage.get("prompt_tokens")), wire.count(usage.get("completion_tokens"))
    cached = wire.count(wire.mapping(usage.get("prompt_tokens_details")).get("cached_tokens"))
    return ChatReply(
        message=message,
        finish_reason=wire.text(first.get("finish_reason")),
        usage=Usage(input=told[0] or 0, output=told[1] or 0, cached=cached or 0),
        model=wire.text(body.get("model")) or asked,
        usage_counted_here=None in told,
    )
