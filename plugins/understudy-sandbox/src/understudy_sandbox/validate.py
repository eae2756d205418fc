"""Checks of a training file, as the provider makes them before a job is queued."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from understudy_sandbox.tokens import row_tokens

MIN_EXAMPLES = 10
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a job fails: the code and message of its ``error``."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A file that can be trained on: its rows and their billed tokens for one epoch."""

    rows: int
    tokens: int


def _message_fault(message: Any) -> str | None:
    if not isinstance(message, Mapping):
        return "a message is not an object"
    role = message.get("role")
    if role not in _ROLES:
        return f"role {role!r} is not one of {', '.join(sorted(_ROLES))}"
    content = message.get("content")
    if content is not None and not isinstance(content, str | list):
        return f"content of the {role} message is neither text nor a list of parts"
    called = message.get("tool_calls") or message.get("function_call")
    if content in (None, "", []) and not (role == "assistant" and called):
        return f"the {role} message has no content"
    return None


def _chat_fault(messages: Any, *, answered: bool) -> str | None:
    if not isinstance(messages, list) or not messages:
        return "messages is not a list of at least one message"
    for message in messages:
        fault = _message_fault(message)
        if fault:
            return fault
    if answered and messages[-1]["role"] != "assistant":
        return "the last message must be from the assistant"
    if answered and not any(m["role"] in {"user", "system", "developer"} for m in messages):
        return "there is nothing but assistant messages"
    return None


def row_fault(row: Any, method: str) -> str | None:
    """What is wrong with a training row for a method, or None."""
    if not isinstance(row, dict):
        return "the line is not a JSON object"
    if method != "dpo":
        if "messages" not in row:
            return "the key messages is missing"
        return _chat_fault(row["messages"], answered=True)
    given = row.get("input")
    if not isinstance(given, dict):
        return "the key input is missing"
    fault = _chat_fault(given.get("messages"), answered=False)
    for key in ("preferred_output", "non_preferred_output"):
        if not fault and key not in row:
            fault = f"the key {key} is missing"
        fault = fault or _chat_fault(row[key], answered=False)
        if not fault and row[key][-1]["role"] != "assistant":
            fault = f"{key} must end with an assistant message"
    return fault


def check_file(
    lines: Iterable[bytes], method: str, what: str = "training file"
) -> Checked | Problem:
    """Check every line; the first fault ends it.

    Args:
        lines: the file's lines.
        method: ``supervised`` or ``dpo``.
        what: what the messages call the file.
    """
    rows = tokens = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            return Problem(
                code="invalid_file_format",
                message=f"Line {number} of the {what} is not valid JSON. The file must be JSONL, "
                "one example a line.",
            )
        fault = row_fault(row, method)
        if fault:
            return Problem(
                code=f"invalid_{what.replace(' ', '_')}",
                message=f"Line {number} of the {what} is not a {method} example: {fault}.",
            )
        rows += 1
        tokens += row_tokens(row)
    if rows < MIN_EXAMPLES and what == "training file":
        return Problem(
            code="invalid_training_file",
            message=f"The training file has {rows} example(s), but must have at least "
            f"{MIN_EXAMPLES} examples.",
        )
    return Checked(rows=rows, tokens=tokens)
