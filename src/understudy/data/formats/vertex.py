"""Vertex AI's tuning rows for Gemini: supervised, and preference with scored completions.

Source: Content, Part, FunctionCall and FunctionResponse of the Vertex AI API (v1), and the guides
"Prepare supervised fine-tuning data" and "Preference tuning". A call's id travels with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from understudy.data.reasons import Reason, RowError
from understudy.data.rows import row_parser
from understudy.model import PAIRED_METHODS, Example, Message, Method
from understudy.recipe import Cleaning

__all__ = ["read", "write"]

Object = dict[str, Any]

_CHAT = row_parser("chat", Cleaning())
_PAIR = row_parser("preference", Cleaning())
_SYSTEM = frozenset({"system", "developer"})
_TEXT = "output"
"""The field that holds a tool's answer where that is no JSON object."""


def write(example: Example, method: Method) -> Object:
    """The row.

    Raises:
        RowError: reinforcement, which Vertex has no rows for; a system prompt that is not the
            first message; a message with a weight or a name, which its rows cannot say.
    """
    if method == "reinforcement":
        raise RowError(
            Reason.UNSUPPORTED_CONTENT, "", "Vertex tunes by supervised and preference rows only"
        )
    names: dict[str, str] = {}
    system, messages = _parted(example.messages)
    row: Object = {}
    if system:
        row["systemInstruction"] = {"role": "system", "parts": _texts(system)}
    paired = method in PAIRED_METHODS
    last = -1 if paired else None
    row["contents"] = _contents(messages[:last], names)
    if paired:
        row["completions"] = [
            {"score": 1.0, "completion": _contents(messages[-1:], names)[0]},
            {"score": 0.0, "completion": _contents(example.rejected, names)[0]},
        ]
    if example.tools:
        row["tools"] = [{"functionDeclarations": [tool["function"] for tool in example.tools]}]
    return row


def read(row: Object, method: Method) -> Example:
    """The example that a row holds.

    Raises:
        RowError: the row is malformed.
    """
    try:
        messages = _messages(row)
        tools = [
            {"type": "function", "function": function}
            for tool in row.get("tools") or ()
            for function in tool["functionDeclarations"]
        ]
        if method not in PAIRED_METHODS:
            return _CHAT({"messages": messages, "tools": tools}).example
        ranked = sorted(row["completions"], key=lambda each: -each["score"])
        pair = {
            "input": {"messages": messages, "tools": tools},
            "preferred_output": _read(ranked[0]["completion"]),
            "non_preferred_output": _read(ranked[-1]["completion"]),
        }
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise RowError(
            Reason.WRONG_TYPE, "", f"is no tuning row of Vertex ({type(error).__name__}: {error})"
        ) from None
    return _PAIR(pair).example


def _messages(row: Object) -> list[Object]:
    messages: list[Object] = []
    system = row.get("systemInstruction")
    if system:
        messages.append({"role": "system", "content": _joined(system["parts"])})
    for content in row["contents"]:
        messages += _read(content)
    return messages


def _parted(messages: tuple[Message, ...]) -> tuple[Message | None, tuple[Message, ...]]:
    first = messages[0] if messages[0]["role"] in _SYSTEM else None
    rest = messages[1:] if first else messages
    for index, message in enumerate(rest, start=len(messages) - len(rest)):
        where = f"messages.{index}"
        if message["role"] in _SYSTEM:
            raise RowError(
                Reason.UNSUPPORTED_CONTENT, where, "Vertex takes one system prompt, at the start"
            )
        for name in ("weight", "name"):
            if name in message and message["role"] != "tool":
                raise RowError(
                    Reason.UNSUPPORTED_CONTENT, f"{where}.{name}", "Vertex's rows cannot say this"
                )
    return first, rest


def _contents(messages: Iterable[Message], names: dict[str, str]) -> list[Object]:
    """Messages as contents; answers of several tools that stand together are one content."""
    made: list[Object] = []
    for message in messages:
        if message["role"] == "tool":
            part = {"functionResponse": _response(message, names)}
            if made and "functionResponse" in made[-1]["parts"][0]:
                made[-1]["parts"].append(part)
            else:
                made.append({"role": "user", "parts": [part]})
            continue
        parts = _texts(message)
        for call in message.get("tool_calls") or ():
            function = call["function"]
            names[call["id"]] = function["name"]
            arguments = orjson.loads(function["arguments"])
            parts.append(
                {"functionCall": {"id": call["id"], "name": function["name"], "args": arguments}}
            )
        role = "model" if message["role"] == "assistant" else "user"
        made.append({"role": role, "parts": parts})
    return made


def _response(message: Message, names: dict[str, str]) -> Object:
    text = _joined(_texts(message))
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    # Only what comes back letter by letter goes as an object.
    whole = isinstance(found, dict) and orjson.dumps(found).decode() == text and _TEXT not in found
    call_id = message["tool_call_id"]
    response = found if whole else {_TEXT: text}
    return {"id": call_id, "name": names.get(call_id, call_id), "response": response}


def _texts(message: Message) -> list[Object]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"text": content}] if content else []
    return [{"text": part["text"]} for part in content or ()]


def _joined(parts: list[Object]) -> str:
    return "".join(part["text"] for part in parts)


def _read(content: Object) -> list[Object]:
    role = "assistant" if content.get("role") == "model" else "user"
    texts: list[Object] = []
    calls: list[Object] = []
    results: list[Object] = []
    for part in content["parts"]:
        if "functionCall" in part:
            calls.append(_call(part["functionCall"]))
        elif "functionResponse" in part:
            results.append(_result(part["functionResponse"]))
        else:
            texts.append({"type": "text", "text": part["text"]})
    if results:
        return results
    made: Object = {"role": role}
    if texts:
        made["content"] = texts[0]["text"] if len(texts) == 1 else texts
    if calls:
        made["tool_calls"] = calls
    return [made]


def _call(call: Object) -> Object:
    arguments = orjson.dumps(call.get("args") or {}).decode()
    function = {"name": call["name"], "arguments": arguments}
    return {"id": call.get("id") or call["name"], "type": "function", "function": function}


def _result(given: Object) -> Object:
    response = given["response"]
    text = response[_TEXT] if set(response) == {_TEXT} else orjson.dumps(response).decode()
    return {"role": "tool", "tool_call_id": given.get("id") or given["name"], "content": text}
