"""Chat messages: what a row may hold, checked, and brought into one form.

The form: keys in the order role, content, name, tool_calls, tool_call_id, weight; no nulls;
``content`` left out where tool calls stand without text; arguments as a JSON string; the retired
``function_call`` and role ``function`` as tool calls. Keys that only replies carry (annotations,
reasoning, ...) are left out.
"""

from __future__ import annotations

from typing import Any

import orjson

from understudy.data.reasons import Reason, RowError
from understudy.validation import nearest

__all__ = ["ROLES", "check_keys", "check_messages", "check_tools", "legacy_tools"]

ROLES = ("system", "developer", "user", "assistant", "tool", "function")

_KEYS = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "weight", "function_call", "refusal"}
)
_REPLY_ONLY = frozenset(
    {"annotations", "audio", "provider_specific_fields", "reasoning", "reasoning_content"}
)

Object = dict[str, Any]


def check_keys(row: Object, allowed: frozenset[str], place: str) -> None:
    """Refuse names that mean nothing here: a misspelt one would be lost without a word."""
    if not row.keys() <= allowed:
        name = min(row.keys() - allowed)
        where = f"{place}.{name[:60]}" if place else name[:60]
        hint = nearest(name[:60], allowed)
        raise RowError(Reason.UNKNOWN_FIELD, where, f"unknown field; {hint}")


def check_messages(value: Any, place: str) -> list[Object]:
    """Messages in the one form.

    Args:
        value: what stood under ``place``.
        place: dotted path, for errors.

    Raises:
        RowError: with the path of the first thing that is wrong.
    """
    if not isinstance(value, list):
        raise RowError(Reason.WRONG_TYPE, place, "must be a list of messages")
    if not value:
        raise RowError(Reason.NO_MESSAGES, place, "is empty; give the messages of the call")
    checked = []
    open_calls: set[str] = set()
    legacy = 0
    for index, raw in enumerate(value):
        where = f"{place}.{index}"
        if type(raw) is not dict:
            raise RowError(Reason.WRONG_TYPE, where, "must be an object with role and content")
        if raw.get("role") == "function" or raw.get("function_call") is not None:
            legacy += raw.get("role") != "function"
            raw = _modern(raw, f"call_{legacy}", where)  # noqa: PLW2901
        message = _message(raw, where)
        _follow_calls(message, open_calls, where)
        checked.append(message)
    return checked


def _follow_calls(message: Object, open_calls: set[str], where: str) -> None:
    if message["role"] == "tool":
        call_id = message["tool_call_id"]
        if call_id not in open_calls:
            raise RowError(
                Reason.UNMATCHED_TOOL_CALL,
                f"{where}.tool_call_id",
                "answers no tool call that the assistant made just before; "
                "keep the assistant's message with its tool_calls",
            )
        open_calls.discard(call_id)
        return
    if open_calls:
        raise RowError(
            Reason.UNANSWERED_TOOL_CALL,
            where,
            f"{len(open_calls)} tool calls before this message have no tool message; add them",
        )
    for call in message.get("tool_calls", ()):
        open_calls.add(call["id"])


def _message(raw: Object, where: str) -> Object:
    role = raw.get("role")
    if role not in ROLES:
        if "role" not in raw:
            raise RowError(Reason.MISSING_FIELD, f"{where}.role", "is missing")
        hint = nearest(str(role)[:40], ROLES)
        raise RowError(Reason.UNKNOWN_ROLE, f"{where}.role", f"unknown role; {hint}")
    message: Object = {"role": role}
    content = raw.get("content")
    # Most messages of most logs: nothing but a role and a text.
    if len(raw) == 2 and type(content) is str and role != "tool" and not content.isspace():
        if content:
            message["content"] = content
            return message
    elif not raw.keys() <= _KEYS:
        check_keys(raw, _KEYS | _REPLY_ONLY, where)
    calls = _tool_calls(raw, role, where)
    _content(message, raw, calls, where)
    if raw.get("name") is not None:
        message["name"] = _text(raw["name"], f"{where}.name")
    if calls:
        message["tool_calls"] = calls
    if role == "tool":
        message["tool_call_id"] = _text(raw.get("tool_call_id"), f"{where}.tool_call_id")
    _weight(message, raw, where)
    return message


def _content(message: Object, raw: Object, calls: list[Object], where: str) -> None:
    content = raw.get("content")
    if raw.get("refusal") is not None:
        raise RowError(Reason.REFUSAL, f"{where}.refusal", "the model refused; leave the row out")
    if isinstance(content, list) and content:
        message["content"] = [
            _part(part, f"{where}.content.{index}") for index, part in enumerate(content)
        ]
    elif content is None or isinstance(content, str | list):
        # A tool may well have nothing to say; a system prompt may be left blank.
        blank = content is None or not content or str(content).isspace()
        if blank and calls:
            return
        if content is None and "content" not in raw:
            raise RowError(Reason.MISSING_FIELD, f"{where}.content", "is missing")
        if blank and (message["role"] in {"user", "assistant"} or not isinstance(content, str)):
            raise RowError(Reason.EMPTY_CONTENT, f"{where}.content", "is empty")
        message["content"] = content
    else:
        raise RowError(
            Reason.WRONG_TYPE, f"{where}.content", "must be a string or a list of text parts"
        )


def _part(part: Any, where: str) -> Object:
    if not isinstance(part, dict):
        raise RowError(Reason.WRONG_TYPE, where, "must be an object such as a text part")
    if part.get("type") != "text":
        raise RowError(
            Reason.UNSUPPORTED_CONTENT,
            f"{where}.type",
            'only parts of type "text" can be trained on; leave images and audio out',
        )
    check_keys(part, frozenset({"type", "text"}), where)
    return {"type": "text", "text": _text(part.get("text"), f"{where}.text")}


def _text(value: Any, where: str) -> str:
    if value is None:
        raise RowError(Reason.MISSING_FIELD, where, "is missing")
    if not isinstance(value, str):
        raise RowError(Reason.WRONG_TYPE, where, "must be a string")
    if not value:
        raise RowError(Reason.EMPTY_CONTENT, where, "is empty")
    return value


def _weight(message: Object, raw: Object, where: str) -> None:
    weight = raw.get("weight")
    if weight is None:
        return
    number = type(weight) in {int, float}
    if message["role"] != "assistant" or not number or weight not in {0, 1}:
        raise RowError(
            Reason.BAD_WEIGHT, f"{where}.weight", "only assistant messages have one, 0 or 1"
        )
    message["weight"] = int(weight)


def _tool_calls(raw: Object, role: str, where: str) -> list[Object]:
    calls = raw.get("tool_calls")
    if calls is None or calls == []:
        return []
    where = f"{where}.tool_calls"
    if role != "assistant" or not isinstance(calls, list):
        raise RowError(Reason.BAD_TOOL_CALL, where, "must be a list on an assistant message")
    return [_tool_call(call, f"{where}.{index}") for index, call in enumerate(calls)]


def _tool_call(call: Any, where: str) -> Object:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or call.get("type", "function") != "function":
        raise RowError(
            Reason.BAD_TOOL_CALL, where, 'must be {"id", "type": "function", "function": {...}}'
        )
    name, call_id = function.get("name"), call.get("id")
    for field, value in (("id", call_id), ("function.name", name)):
        if not isinstance(value, str) or not value:
            raise RowError(Reason.BAD_TOOL_CALL, f"{where}.{field}", "must be a non-empty string")
    arguments = _arguments(function.get("arguments"), f"{where}.function.arguments")
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _arguments(arguments: Any, where: str) -> str:
    if isinstance(arguments, dict):
        # Loggers that parse the string are common; the wire wants the string.
        return orjson.dumps(arguments).decode()
    if arguments is None or arguments == "":
        return "{}"
    try:
        if isinstance(arguments, str) and isinstance(orjson.loads(arguments), dict):
            return arguments
    except orjson.JSONDecodeError:
        pass
    raise RowError(Reason.BAD_TOOL_CALL, where, "must be a JSON object as a string")


def _modern(raw: Object, call_id: str, where: str) -> Object:
    """The retired function-calling form as tool calls."""
    rest = {k: v for k, v in raw.items() if k != "function_call"}
    if raw.get("role") == "function":
        return rest | {"role": "tool", "tool_call_id": call_id}
    call = raw["function_call"]
    if raw.get("tool_calls") or not isinstance(call, dict):
        raise RowError(
            Reason.BAD_TOOL_CALL, f"{where}.function_call", "must be {name, arguments}, alone"
        )
    return rest | {"tool_calls": [{"id": call_id, "type": "function", "function": call}]}


def check_tools(value: Any, place: str) -> list[Object]:
    """Tool definitions as they stand; their key order is kept, since a model sees it.

    Raises:
        RowError: with the path of the first thing that is wrong.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise RowError(Reason.BAD_TOOLS, place, "must be a list of tools")
    for index, tool in enumerate(value):
        function = tool.get("function") if isinstance(tool, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or not name or tool.get("type") != "function":
            raise RowError(
                Reason.BAD_TOOLS,
                f"{place}.{index}",
                'must be {"type": "function", "function": {"name": ...}}',
            )
    return value


def legacy_tools(functions: Any) -> list[Object]:
    """The retired ``functions`` list as tools."""
    if functions is None:
        return []
    if not isinstance(functions, list):
        raise RowError(Reason.BAD_TOOLS, "functions", "must be a list of functions")
    return check_tools([{"type": "function", "function": item} for item in functions], "functions")
