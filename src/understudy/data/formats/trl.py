"""TRL's conversational rows: prompt and completion (SFT), chosen and rejected (DPO), prompt (GRPO).

Chat templates want the arguments of tool calls as objects; ids of calls are kept beside them.
Source: TRL's documentation, "Dataset formats and types".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from understudy.data.reasons import Reason, RowError
from understudy.data.rows import answer_text, row_parser
from understudy.model import PAIRED_METHODS, Example, Message, Method
from understudy.recipe import Cleaning

__all__ = ["read", "write"]

Object = dict[str, Any]

_CHAT = row_parser("chat", Cleaning())
_PAIR = row_parser("preference", Cleaning())


def write(example: Example, method: Method) -> Object:
    """The row; GRPO's has the reference beside the prompt, for a reward function."""
    prompt = _templated(example.messages[:-1])
    answer = _templated(example.messages[-1:])
    if method in PAIRED_METHODS:
        row: Object = {
            "prompt": prompt,
            "chosen": answer,
            "rejected": _templated(example.rejected),
        }
    elif method == "reinforcement":
        reference = example.reference
        text = answer_text(example.messages[-1]) if reference is None else reference
        row = {"prompt": prompt, "reference": text}
    else:
        row = {"prompt": prompt, "completion": answer}
    if example.tools:
        row["tools"] = list(example.tools)
    return row


def read(row: Object, method: Method) -> Example:
    """The example; a language-modelling row (``messages``) is read as well."""
    tools = row.get("tools")
    if method in PAIRED_METHODS:
        pair = {
            "input": {"messages": row.get("prompt"), "tools": tools},
            "preferred_output": row.get("chosen"),
            "non_preferred_output": row.get("rejected"),
        }
        return _PAIR(pair).example
    if method != "reinforcement" and "messages" in row:
        return _CHAT({"messages": row["messages"], "tools": tools}).example
    last = row.get("completion")
    if method == "reinforcement":
        last = [{"role": "assistant", "content": row.get("reference")}]
    prompt = row.get("prompt")
    for name, part in (("prompt", prompt), ("completion", last)):
        if not isinstance(part, list):
            raise RowError(
                Reason.WRONG_TYPE, name, "must be a list of messages; text is not conversational"
            )
    assert isinstance(prompt, list)
    return _CHAT({"messages": [*prompt, *(last or [])], "tools": tools}).example


def _templated(messages: Iterable[Message]) -> list[Object]:
    return [_message(dict(message)) for message in messages]


def _message(message: Object) -> Object:
    if message.get("tool_calls"):
        message["tool_calls"] = [
            call | {"function": _function(call["function"])} for call in message["tool_calls"]
        ]
        # Templates look at content without asking whether it is there.
        message.setdefault("content", "")
    return message


def _function(function: Object) -> Object:
    return function | {"arguments": orjson.loads(function["arguments"])}
