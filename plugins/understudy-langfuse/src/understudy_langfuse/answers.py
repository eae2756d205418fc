"""Outputs of generations as the assistant's message in OpenAI's form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from understudy_langfuse.messages import looks_like_message, normal_messages
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

__all__ = ["Answer", "answer_of", "finish_reason"]

_FINISHED = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "incomplete": "length",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "tool-calls": "tool_calls",
    "content-filter": "content_filter",
    "safety": "content_filter",
}
_BLOCKS = frozenset({"text", "output_text", "tool_use", "tool-call", "thinking", "reasoning"})


@dataclass(frozen=True)
class Answer:
    """What was answered; ``finish`` is why it ended, in OpenAI's words."""

    message: Object
    finish: str | None = None


def finish_reason(value: Any) -> str | None:
    """Why an answer ended, in OpenAI's words; also out of a list of one."""
    found = decoded(value)
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, str) or not found:
        return None
    said = found.lower()
    return _FINISHED.get(said, said)


def answer_of(value: Any) -> Answer | None:
    """The answer that an output holds; None where there is none.

    Takes a text, a message, a list that ends with one, and bodies of the OpenAI, Anthropic and
    Gemini APIs and of OpenAI's Responses; each also as JSON in a string. An object or a list of
    any other form is an answer in JSON, and stays the text that it was.
    """
    found = decoded(value)
    if value is None or found in ({}, []):
        return None
    if is_object(found):
        made = _from_body(found)
    elif objects(found):
        made = _from_list(found)
    else:
        made = None
    return made or Answer(message={"role": "assistant", "content": dumped(value)})


def _from_body(body: Object) -> Answer | None:
    for name in ("choices", "candidates", "generations"):
        listed = body.get(name)
        while isinstance(listed, list) and len(listed) == 1 and isinstance(listed[0], list):
            listed = listed[0]
        if objects(listed):
            return _from_choice(listed[0])
    if objects(body.get("output")):
        made = _from_list(body["output"])
        finish = finish_reason(body.get("status"))
        return Answer(message=made.message, finish=made.finish or finish) if made else None
    finish = finish_reason(first(body, "finish_reason", "stop_reason", "finishReason"))
    if looks_like_message(body):
        return _merged([body], finish)
    if body.get("tool_calls") or set(body) == {"content"}:
        return _merged([{"role": "assistant", "content": None, **body}], finish)
    return None


def _from_choice(choice: Object) -> Answer | None:
    finish = finish_reason(first(choice, "finish_reason", "finishReason", "stop_reason"))
    message = first(choice, "message", "content")
    if is_object(message):
        return _merged([{"role": "assistant", **message}], finish)
    text = first(choice, "text", "content")
    if isinstance(text, str):
        return Answer(message={"role": "assistant", "content": text}, finish=finish)
    return None


def _from_list(found: list[Object]) -> Answer | None:
    if any(looks_like_message(one) for one in found):
        return _merged(found, finish_reason(found[-1].get("finish_reason")))
    if all(kind_of(one) in _BLOCKS for one in found):
        parts = split_parts(found, 0)
        message: Object = {"role": "assistant", "content": parts.content}
        return Answer(message=message | ({"tool_calls": parts.calls} if parts.calls else {}))
    return None


def _merged(given: list[Object], finish: str | None) -> Answer | None:
    """The last message of the assistant; texts and tool calls of one turn belong together."""
    try:
        made = [one for one in normal_messages(given, "output").messages if _is_answer(one)]
    except ShapeError:
        return None
    if not made:
        return None
    last = made[-1]
    if last.get("tool_calls") and last["content"] is None and len(made) > 1:
        before = made[-2]
        if not before.get("tool_calls"):
            last = {**last, "content": before["content"]}
    return Answer(message=last, finish=finish)


def _is_answer(message: Object) -> bool:
    return bool(message["role"] == "assistant")
