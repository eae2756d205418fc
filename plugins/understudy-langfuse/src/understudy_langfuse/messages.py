"""Inputs of generations as chat messages in OpenAI's form, whatever SDK was traced."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from understudy_langfuse.parts import split_parts
from understudy_langfuse.shapes import (
    Object,
    ShapeError,
    decoded,
    dumped,
    first,
    is_object,
    kind_of,
    objects,
)
from understudy_langfuse.tools import is_definition, tool_call, tool_definitions

__all__ = ["Request", "looks_like_message", "normal_messages", "request_of"]

_ROLES = {
    "human": "user",
    "ai": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "humanmessage": "user",
    "aimessage": "assistant",
    "aimessagechunk": "assistant",
    "systemmessage": "system",
    "toolmessage": "tool",
}
_KNOWN = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_ITEMS = frozenset({"message", "function_call", "function_call_output", "reasoning"})
_KEPT = ("name", "function_call", "refusal", "weight")


@dataclass
class Request:
    """What was asked: messages, and the tool definitions that came with them."""

    messages: list[Object] = field(default_factory=list[Object])
    tools: list[Object] = field(default_factory=list[Object])
    parallel: bool | None = None


def request_of(value: Any, place: str = "input") -> Request:
    """The request that an input holds.

    Takes a text, a message, a list of messages, a body of the OpenAI, Anthropic or Gemini APIs
    and of OpenAI's Responses, LangChain's messages, OpenTelemetry's; each also as JSON in a
    string.

    Args:
        value: the input.
        place: dotted path, for errors.

    Raises:
        ShapeError: it is none of that.
    """
    found = decoded(value)
    if isinstance(found, str):
        if not found.strip():
            raise ShapeError(place, "is empty; log what was asked")
        return Request(messages=[{"role": "user", "content": found}])
    if isinstance(found, list):
        return _from_list(found, place)
    if is_object(found):
        return _from_body(found, place)
    raise ShapeError(place, "is missing; log the input of the generation")


def _from_list(found: list[Any], place: str) -> Request:
    if len(found) == 1 and isinstance(found[0], list | str):
        return request_of(found[0], place)  # a batch of one
    if not objects(found):
        raise ShapeError(place, "is a list of something else than messages")
    if any(looks_like_message(one) for one in found):
        return normal_messages(found, place)
    parts = split_parts(found, 0)
    if parts.texts and all(part.get("type") == "text" for part in parts.texts):
        return Request(messages=[{"role": "user", "content": parts.content}])
    raise ShapeError(place, "is a list of objects without roles; log the messages")


def _from_body(body: Object, place: str) -> Request:
    if looks_like_message(body) and "messages" not in body:
        return normal_messages([body], place)
    for name in ("messages", "input", "contents", "prompt", "kwargs"):
        if body.get(name) is not None:
            made = request_of(body[name], f"{place}.{name}")
            break
    else:
        raise ShapeError(
            place, "is an object without messages; log the messages that the model was sent"
        )
    system = first(body, "system", "instructions", "systemInstruction", "system_instruction")
    if system is not None:
        made.messages[:0] = [{"role": "system", "content": _system(system)}]
    for name in ("tools", "functions"):
        made.tools += tool_definitions(body.get(name))
    if type(body.get("parallel_tool_calls")) is bool:
        made.parallel = body["parallel_tool_calls"]
    return made


def _system(given: Any) -> Any:
    if is_object(given) and isinstance(given.get("parts"), list):
        given = given["parts"]
    return split_parts(given, 0).content if isinstance(given, list) else dumped(given)


def looks_like_message(value: Any) -> bool:
    """Whether it is a message, of whatever SDK."""
    if not is_object(value):
        return False
    if kind_of(value) in _ITEMS - {"message"}:
        return "call_id" in value or kind_of(value) == "reasoning"
    return _role(value) is not None and any(
        name in value
        for name in ("content", "parts", "tool_calls", "function_call", "data", "kwargs", "refusal")
    )


def _role(given: Object) -> str | None:
    for name in ("role", "type"):
        said = given.get(name)
        if isinstance(said, str):
            role = _ROLES.get(said.lower(), said.lower())
            if role in _KNOWN:
                return role
    path = given.get("id")
    if isinstance(path, list) and path and isinstance(path[-1], str):
        return _ROLES.get(path[-1].lower())
    return None


def normal_messages(given: list[Object], place: str) -> Request:
    """Messages in OpenAI's form; tool definitions among them are taken out.

    Raises:
        ShapeError: one of them has no role.
    """
    made = Request()
    calls = 0
    for index, raw in enumerate(given):
        one = _unwrapped(raw)
        if kind_of(one) in _ITEMS - {"message"}:
            _take_item(made.messages, one, calls)
        elif _role(raw) == "tool" and is_definition(decoded(one.get("content"))):
            made.tools += tool_definitions(decoded(one["content"]))
        else:
            role = _role(raw) or _role(one)
            if role is None:
                raise ShapeError(f"{place}.{index}.role", "is no role of a chat")
            made.messages += _message(role, one, calls)
        calls = sum(len(message.get("tool_calls", ())) for message in made.messages)
    if not made.messages:
        raise ShapeError(place, "holds no message; log what was asked")
    return made


def _unwrapped(raw: Object) -> Object:
    """LangChain writes a message's fields one level down."""
    for name in ("data", "kwargs"):
        if is_object(raw.get(name)) and "content" in raw[name]:
            return {key: value for key, value in raw[name].items() if key != "type"}
    return raw


def _take_item(messages: list[Object], item: Object, calls: int) -> None:
    """An item of OpenAI's Responses that is no message."""
    if item["type"] == "function_call":
        call = tool_call({**item, "id": item.get("call_id")}, calls + 1)
        if call is not None and messages and messages[-1].get("tool_calls"):
            messages[-1]["tool_calls"].append(call)
        elif call is not None:
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
    elif item["type"] == "function_call_output":
        messages += split_parts([item], calls).results


def _message(role: str, one: Object, calls_before: int) -> list[Object]:
    """A message, and the tool results that stood in it as messages of their own."""
    content = first(one, "content", "parts")
    listed = tool_calls_of(one, calls_before)
    results: list[Object] = []
    if isinstance(content, list):
        parts = split_parts(content, calls_before + len(listed))
        content, results = parts.content, parts.results
        listed = listed or parts.calls
    elif content is not None and not isinstance(content, str):
        content = dumped(content)
    if results and content is None and not listed:
        return results
    made: Object = {"role": role, "content": content}
    made |= {name: one[name] for name in _KEPT if one.get(name) is not None}
    if listed:
        made["tool_calls"] = listed
    if role == "tool":
        found = first(one, "tool_call_id", "toolCallId", "call_id", "name")
        made["tool_call_id"] = dumped(found) if found is not None else ""
        made.pop("name", None)
    return [*results, made]


def tool_calls_of(one: Object, calls_before: int) -> list[Object]:
    """The tool calls beside a message's content."""
    more = one.get("additional_kwargs")
    given = first(one, "tool_calls", "toolCalls")
    if not given and is_object(more):
        given = more.get("tool_calls")
    if not isinstance(given, list):
        return []
    made = (tool_call(call, calls_before + index) for index, call in enumerate(given, 1))
    return [call for call in made if call is not None]
