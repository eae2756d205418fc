"""The texts of a message, to be looked at or replaced."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import orjson

from understudy.model import Conversation, Message

__all__ = ["mapped", "text_of", "texts"]


def text_of(message: Message) -> str:
    """The text of a message, of all its parts; "" for bare tool calls."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or ())


def texts(message: Message) -> Iterator[str]:
    """Every text in a message, the arguments of its tool calls too."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    else:
        yield from (part["text"] for part in content or ())
    for call in message.get("tool_calls") or ():
        yield call["function"]["arguments"]


def mapped(row: Conversation, change: Callable[[str], str]) -> Conversation:
    """``row`` with every text put through ``change``."""
    return replace(
        row,
        messages=tuple(_message(message, change) for message in row.messages),
        rejected=tuple(_message(message, change) for message in row.rejected),
        reference=None if row.reference is None else change(row.reference),
    )


def _message(message: Message, change: Callable[[str], str]) -> Message:
    made: dict[str, Any] = dict(message)
    content = message.get("content")
    if isinstance(content, str):
        made["content"] = change(content)
    elif content:
        made["content"] = [part | {"text": change(part["text"])} for part in content]
    if message.get("tool_calls"):
        made["tool_calls"] = [
            call | {"function": _function(call["function"], change)}
            for call in message["tool_calls"]
        ]
    return made


_BARE = re.compile(r"(?<=[:\[,\s])(\[(?!true|false|null)[a-z]+\])(?=\s*[,}\]])")


def _function(function: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    arguments = change(function["arguments"])
    if arguments != function["arguments"]:
        try:
            orjson.loads(arguments)
        except orjson.JSONDecodeError:
            # A number was blotted out: what stands for it is a string.
            arguments = _BARE.sub(r'"\1"', arguments)
    return function | {"arguments": arguments}
