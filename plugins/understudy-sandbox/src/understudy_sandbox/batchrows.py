"""What the requests of a batch share, looked at once: settings, constant texts, prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from understudy_sandbox.chat import wants_json
from understudy_sandbox.errors import ApiError
from understudy_sandbox.learner.rows import Prompt, prompt_of
from understudy_sandbox.schemas import ChatRequest, validated
from understudy_sandbox.tokens import chat_tokens, count

_KEPT = 10_000
_PER_MESSAGE = _PER_CHAT = 3
_ROLES = frozenset({"system", "developer", "user", "assistant"})
_FIRST = frozenset({"system", "developer"})

constant_tokens = lru_cache(maxsize=_KEPT)(count)
"""Tokens of texts that many rows have, such as the system message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """All of a request but its messages.

    Attributes:
        error: why it is refused, if it is.
        as_json: whether the answer must be JSON.
        stop: marks before which the answer ends.
        limit: most tokens of the answer.
    """

    error: ApiError | None
    as_json: bool
    stop: Any
    limit: int | None


def plain_messages(body: Mapping[str, Any]) -> list[dict[str, str]] | None:
    """The messages, where each is a role and a text: nearly always; None otherwise."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    for message in messages:
        if (
            type(message) is not dict
            or len(message) != 2
            or type(message.get("content")) is not str
            or message.get("role") not in _ROLES
        ):
            return None
    return messages


def input_tokens(body: Mapping[str, Any]) -> int:
    """Tokens of a request's messages and tools; 0 where it has no messages that could be asked."""
    messages = plain_messages(body)
    tools = body.get("tools") or body.get("functions")
    if messages is None or tools:
        given = body.get("messages")
        if not isinstance(given, list) or not all(isinstance(m, dict) for m in given):
            return 0
        return chat_tokens(given, tools)
    counted = _PER_CHAT
    for message in messages:
        role = message["role"]
        text = constant_tokens if role in _FIRST else count
        counted += _PER_MESSAGE + constant_tokens(role) + text(message["content"])
    return counted


class Settings:
    """Requests' settings, each different one checked once."""

    def __init__(self) -> None:
        self._known: dict[bytes, Asked] = {}

    def of(self, body: dict[str, Any]) -> tuple[Asked, Prompt | None]:
        """What a request asks for with its prompt, or why it is refused."""
        messages = plain_messages(body)
        if messages is None:
            asked = _asked(body)
            return asked, None if asked.error else prompt_of(body["messages"])
        body["messages"] = None
        key = orjson.dumps(body)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._known[key] = _asked({**body, "messages": messages})
        return found, None if found.error else _prompt(messages)


def _prompt(messages: list[dict[str, str]]) -> Prompt:
    last = messages[-1]
    if last["role"] == "user":
        if len(messages) == 1:
            return Prompt(text=last["content"].strip())
        first = messages[0]
        if len(messages) == 2 and first["role"] in _FIRST:
            return Prompt(text=last["content"].strip(), system=first["content"].strip())
    return prompt_of(messages)


def _asked(body: dict[str, Any]) -> Asked:
    error = None
    try:
        validated(ChatRequest, body)
    except ApiError as refusal:
        error = refusal
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return Asked(
        error=error,
        as_json=error is None and wants_json(body),
        stop=body.get("stop"),
        limit=limit,
    )
