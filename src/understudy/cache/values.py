"""What stands in a cache under a key: a reply as JSON, or a refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from understudy.errors import DataError
from understudy.model import ChatReply, Usage

__all__ = ["Refusal", "pack_refusal", "pack_reply", "unpack"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """The provider will not answer this request; ``reason`` in its words, made safe."""

    reason: str
    code: str | None = None


def pack_reply(reply: ChatReply) -> bytes:
    """``{message, finish_reason, usage: {input, output, cached}, model}`` as JSON.

    ``usage`` holds ``"counted": true`` where the tokens were counted on this side.
    """
    usage: dict[str, Any] = {
        "input": reply.usage.input,
        "output": reply.usage.output,
        "cached": reply.usage.cached,
    }
    if reply.usage_counted_here:
        usage["counted"] = True
    return orjson.dumps(
        {
            "message": reply.message,
            "finish_reason": reply.finish_reason,
            "usage": usage,
            "model": reply.model,
        }
    )


def pack_refusal(refusal: Refusal) -> bytes:
    """``{refused: {reason, code}}`` as JSON."""
    return orjson.dumps({"refused": {"reason": refusal.reason, "code": refusal.code}})


def unpack(value: bytes) -> ChatReply | Refusal:
    """The reply or refusal that ``value`` holds.

    Raises:
        DataError: it is neither; the entry was not written by Understudy or is damaged.
    """
    try:
        held = orjson.loads(value)
        if "refused" in held:
            refused = held["refused"]
            return Refusal(reason=refused["reason"], code=refused["code"])
        usage = held["usage"]
        return ChatReply(
            message=held["message"],
            finish_reason=held["finish_reason"],
            usage=Usage(input=usage["input"], output=usage["output"], cached=usage["cached"]),
            model=held["model"],
            usage_counted_here=usage.get("counted", False),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"a cached value is not a reply ({type(error).__name__}); it was not written by "
            "Understudy or is damaged: prune its generation and precompute it again"
        ) from None
