"""Requests and answers as llama.cpp's OpenAI-compatible server has them; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.errors import AuthError, BackendError, InvalidData, RateLimited, Unavailable
from understudy.model import ChatReply, ChatRequest, Json, Usage

__all__ = ["body_of", "error_of", "reply_of"]


def body_of(request: ChatRequest) -> dict[str, Json]:
    """The body of POST /v1/chat/completions."""
    body: dict[str, Json] = {
        "model": request.model,
        "messages": [dict(message) for message in request.messages],
        **request.sampling,
    }
    if "max_completion_tokens" in body:
        # The server knows the older name alone, and would take no limit at all.
        body["max_tokens"] = body.pop("max_completion_tokens")
    if request.tools:
        body["tools"] = [dict(tool) for tool in request.tools]
    if request.response_format is not None:
        body["response_format"] = dict(request.response_format)
    return body


def reply_of(body: Mapping[str, Any], *, model: str) -> ChatReply:
    """The first choice; ``model`` is what was asked for.

    Raises:
        Unavailable: the answer is not whole.
    """
    try:
        choice, usage = body["choices"][0], body["usage"]
        return ChatReply(
            message=dict(choice["message"]),
            finish_reason=choice.get("finish_reason"),
            usage=Usage(
                input=int(usage["prompt_tokens"]),
                output=int(usage["completion_tokens"]),
                cached=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
            ),
            model=model,
        )
    except (KeyError, IndexError, TypeError, ValueError):
        raise Unavailable(f"the server of {model} gave no whole answer; ask again") from None


def error_of(status: int, body: Mapping[str, Any], *, model: str) -> BackendError:
    """What an answer that is not 200 means. The server's own words never quote a message."""
    told = body.get("error")
    error: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    code = str(error.get("type") or "") or None
    if code == "exceed_context_size_error":
        asked, there = error.get("n_prompt_tokens"), error.get("n_ctx")
        return InvalidData(
            f"a request of {asked} tokens does not fit into the {there} that {model} is served "
            "with; raise context_tokens in [backends.local], as far as the student goes",
            code=code,
            status=status,
        )
    if status in {401, 403}:
        return AuthError(
            f"the server of {model} refused its key; if it is not one of ours, end it",
            code=code,
            status=status,
        )
    if status == 429:
        return RateLimited(f"the server of {model} is busy; ask again later", status=status)
    if 400 <= status < 500:
        return InvalidData(
            f"the server of {model} refused the request ({code or status}); check messages, "
            "tools and sampling: a student's chat template may not know a role",
            code=code,
            status=status,
        )
    return Unavailable(
        f"the server of {model} has trouble ({code or status}); ask again", status=status
    )
