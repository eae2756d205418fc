"""The parts of a message's content: texts, tool calls and tool results, of several SDKs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from understudy_langfuse.shapes import Object, dumped, first, is_object, kind_of
from understudy_langfuse.tools import tool_call

__all__ = ["Parts", "split_parts"]

_TEXT = frozenset({"text", "input_text", "output_text"})
_CALL = frozenset({"tool_use", "tool-call", "tool_call", "function_call", "functionCall"})
_RESULT = frozenset(
    {"tool_result", "tool-result", "tool_call_response", "function_call_output", "functionResponse"}
)
_SILENT = frozenset({"thinking", "redacted_thinking", "reasoning", "thought", "step-start"})


@dataclass
class Parts:
    """What a content holds. ``other`` are parts that are none of it, such as images."""

    texts: list[Object] = field(default_factory=list[Object])
    calls: list[Object] = field(default_factory=list[Object])
    results: list[Object] = field(default_factory=list[Object])

    @property
    def content(self) -> Any:
        """A string where there is one text, a list where there are more, None for none."""
        if not self.texts:
            return None
        if len(self.texts) == 1 and self.texts[0].get("type") == "text":
            return self.texts[0]["text"]
        return self.texts


def split_parts(given: list[Any], calls_before: int) -> Parts:
    """The parts of a content.

    Reasoning is left out. What is neither text nor a tool's stays among the texts in its own
    form, for the dataset to refuse with a reason.

    Args:
        given: the list of parts.
        calls_before: tool calls earlier in the conversation, for ids where they have none.
    """
    made = Parts()
    for part in given:
        kind = _kind(part)
        if kind in _TEXT:
            text = part if isinstance(part, str) else first(part, "text", "content")
            if text:
                made.texts.append({"type": "text", "text": dumped(text)})
        elif kind in _CALL:
            call = tool_call(part, calls_before + len(made.calls) + 1)
            if call is not None:
                made.calls.append(call)
        elif kind in _RESULT:
            made.results.append(_result(part))
        elif kind not in _SILENT:
            made.texts.append(part if is_object(part) else {"type": kind})
    return made


def _kind(part: Any) -> str:
    if isinstance(part, str):
        return "text"
    if not is_object(part):
        return type(part).__name__
    if kind_of(part):
        return kind_of(part)
    # Gemini's parts have no type: the field that is there says it.
    return next((k for k in ("text", "functionCall", "functionResponse") if k in part), "unknown")


def _result(part: Object) -> Object:
    inner = part.get("functionResponse")
    given = inner if is_object(inner) else part
    named = first(given, "tool_use_id", "toolCallId", "tool_call_id", "call_id", "id", "name")
    value = first(given, "content", "result", "response", "output")
    if is_object(value) and kind_of(value) in {"text", "json"} and "value" in value:
        value = value["value"]
    if isinstance(value, list):
        texts = [one.get("text") for one in value if is_object(one)]
        if len(texts) == len(value) and all(isinstance(text, str) for text in texts):
            value = "".join(map(str, texts))
    return {
        "role": "tool",
        "tool_call_id": dumped(named) if named is not None else "",
        "content": "" if value is None else dumped(value),
    }
