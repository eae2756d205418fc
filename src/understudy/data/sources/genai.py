"""The message forms of OpenTelemetry's GenAI conventions, as chat messages.

Source: the schemas gen-ai-input-messages.json and gen-ai-output-messages.json of the semantic
conventions, their earlier event form, and the numbered attributes that came before both.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import orjson

__all__ = ["from_events", "from_numbered", "from_parts", "tool_definitions"]

Object = dict[str, Any]
Exchange = tuple[list[Object], Object | None, str | None]

_ROLES = {"model": "assistant", "ai": "assistant", "human": "user"}
_FINISH = {"tool_call": "tool_calls"}
_SKIPPED = frozenset({"reasoning", "thinking"})


def from_parts(system: Any, asked: Any, answers: Any) -> Exchange:
    """Messages made of parts.

    Args:
        system: ``gen_ai.system_instructions``, a list of parts.
        asked: ``gen_ai.input.messages``.
        answers: ``gen_ai.output.messages``; the first one counts.
    """
    made: list[Object] = []
    if system:
        made += _message({"role": "system", "parts": system})
    for message in asked:
        made += _message(message)
    if not answers:
        return made, None, None
    answer = _message(answers[0])
    finish = answers[0].get("finish_reason")
    return made, answer[0] if answer else None, _FINISH.get(finish, finish)


def _message(message: Object) -> list[Object]:
    role = _ROLES.get(message["role"], message["role"])
    parts = message.get("parts")
    if parts is None:
        return [{"role": role, "content": message.get("content")}]
    content: list[Object] = []
    calls: list[Object] = []
    results: list[Object] = []
    for part in parts:
        kind = part["type"]
        if kind == "text":
            content.append({"type": "text", "text": part.get("content") or part.get("text") or ""})
        elif kind == "tool_call":
            calls.append(_call(part.get("id"), part["name"], part.get("arguments")))
        elif kind == "tool_call_response":
            results.append(_result(part.get("id"), part.get("response", part.get("result"))))
        elif kind not in _SKIPPED:
            content.append({"type": kind})
    if results and not content and not calls:
        return results
    made: Object = {"role": role}
    plain = len(content) == 1 and content[0]["type"] == "text"
    if content or not calls:
        made["content"] = content[0]["text"] if plain else content
    if calls:
        made["tool_calls"] = calls
    return [made, *results]


def _call(call_id: Any, name: str, arguments: Any) -> Object:
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments or {}).decode()
    return {
        "id": str(call_id or name),
        "type": "function",
        "function": {"name": name, "arguments": text},
    }


def _result(call_id: Any, response: Any) -> Object:
    text = response if isinstance(response, str) else orjson.dumps(response).decode()
    return {"role": "tool", "tool_call_id": str(call_id or ""), "content": text}


def from_events(events: list[tuple[str, Object]]) -> Exchange:
    """Messages as events: ``gen_ai.user.message`` ... and ``gen_ai.choice``."""
    made: list[Object] = []
    for name, said in events:
        found = re.fullmatch(r"gen_ai\.(system|user|assistant|tool)\.message", name)
        if found:
            message = {"role": said.get("role") or found[1], "content": said.get("content")}
            if said.get("tool_calls"):
                message["tool_calls"] = _decoded(said["tool_calls"])
            if found[1] == "tool":
                message["tool_call_id"] = said.get("id")
            made.append(message)
        elif name == "gen_ai.choice" and not said.get("index"):
            answer = _decoded(said.get("message")) or {"content": said.get("content")}
            if isinstance(answer, str):
                answer = {"content": answer}
            if said.get("tool_calls") and "tool_calls" not in answer:
                answer["tool_calls"] = _decoded(said["tool_calls"])
            return made, {"role": "assistant", **answer}, said.get("finish_reason")
    return made, None, None


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


_NUMBERED = re.compile(r"gen_ai\.(prompt|completion)\.(\d+)\.(.+)")
_CALL = re.compile(r"tool_calls\.(\d+)\.(\w+)")


def from_numbered(said: Object) -> Exchange:
    """Messages as numbered attributes: ``gen_ai.prompt.0.content``."""
    fields: dict[tuple[str, int], Object] = defaultdict(dict)
    for name, value in said.items():
        found = _NUMBERED.fullmatch(name)
        if found:
            fields[found[1], int(found[2])][found[3]] = value
    asked = [_gathered(fields[key]) for key in sorted(fields) if key[0] == "prompt"]
    answered = fields.get(("completion", 0))
    if answered is None:
        return asked, None, None
    finish = answered.pop("finish_reason", None)
    return asked, _gathered({"role": "assistant", **answered}), finish


def _gathered(fields: Object) -> Object:
    calls: dict[int, Object] = defaultdict(dict)
    message: Object = {"role": _ROLES.get(fields.get("role", "user"), fields.get("role", "user"))}
    for name, value in fields.items():
        found = _CALL.fullmatch(name)
        if found:
            calls[int(found[1])][found[2]] = value
        elif name in {"content", "tool_call_id", "name"}:
            message[name] = value
    if calls:
        message["tool_calls"] = [
            _call(call.get("id"), call["name"], call.get("arguments"))
            for _, call in sorted(calls.items())
        ]
    return message


def tool_definitions(tools: Any) -> list[Object]:
    """``gen_ai.tool.definitions`` as the tools of a request."""
    if not isinstance(tools, list):
        return []
    made = []
    for tool in tools:
        if isinstance(tool, dict) and "function" not in tool and "name" in tool:
            names = ("name", "description", "parameters")
            made.append({"type": "function", "function": {n: tool[n] for n in names if n in tool}})
        else:
            made.append(tool)
    return made
