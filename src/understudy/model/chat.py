"""Questions to a model and its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "ChatReply",
    "ChatRequest",
    "Json",
    "Message",
    "Usage",
]

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict of them."""


Message = Mapping[str, Any]
"""One chat message as it goes over the wire: role, content, tool_calls, name, ..."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens of one completion. ``cached`` is the part of ``input`` billed as cached."""

    input: int
    output: int
    cached: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatRequest:
    """One question to a model. ``sampling`` holds temperature, top_p, max_tokens, seed, ..."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Message, ...] = ()
    response_format: Mapping[str, Json] | None = None
    sampling: Mapping[str, Json] = field(default_factory=dict[str, Json])
    tenant: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatReply:
    """One answer. ``message`` is the assistant message as the provider sent it."""

    message: Message
    finish_reason: str | None
    usage: Usage
    model: str
    usage_counted_here: bool = False
    """True where the provider gave no usage and the tokens were counted on this side."""

    @property
    def text(self) -> str:
        """The textual content, empty when the answer is a tool call or a refusal."""
        content = self.message.get("content")
        return content if isinstance(content, str) else ""
