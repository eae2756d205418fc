"""Chat rows as a learner sees them: what was asked, what was answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

_CONTEXT_CHARS = 4000

# Prompts and answers are tuples: batches make millions of them, and ask which are equal.


class Prompt(NamedTuple):
    """What a request asks.

    Attributes:
        text: the last message that is not from the system, as plain text.
        context: the messages before it, the system message left out.
        system: the system (or developer) messages.
    """

    text: str
    context: str = ""
    system: str = ""

    @property
    def source(self) -> str:
        """The text that answers may be copied from: the context's tail, then the question."""
        if not self.context:
            return self.text
        return f"{self.context[-_CONTEXT_CHARS:]}\n{self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One function call: its name and its JSON arguments as text."""

    name: str
    arguments: str


class Answer(NamedTuple):
    """An assistant's answer: content, function calls, or both."""

    content: str | None = None
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One training row: a prompt with the answer that it should get."""

    prompt: Prompt
    answer: Answer


def plain(content: Any) -> str:
    """The text of a message's content: a string, a list of parts, or nothing."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, Mapping))
        return "\n".join(part for part in parts if isinstance(part, str))
    return ""


def _calls_of(message: Mapping[str, Any]) -> tuple[Call, ...]:
    found = []
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        found.append(
            Call(name=str(function.get("name", "")), arguments=str(function.get("arguments", "")))
        )
    legacy = message.get("function_call")
    if isinstance(legacy, Mapping):
        found.append(
            Call(name=str(legacy.get("name", "")), arguments=str(legacy.get("arguments", "")))
        )
    return tuple(found)


def _spoken(message: Mapping[str, Any]) -> str:
    words = plain(message.get("content"))
    calls = " ".join(f"{call.name} {call.arguments}" for call in _calls_of(message))
    return f"{words} {calls}".strip()


def prompt_of(messages: Sequence[Mapping[str, Any]]) -> Prompt:
    """The prompt of a request's messages (without the answer)."""
    system = [m for m in messages if m.get("role") in {"system", "developer"}]
    rest = [m for m in messages if m.get("role") not in {"system", "developer"}]
    asked = max((i for i, m in enumerate(rest) if m.get("role") == "user"), default=len(rest) - 1)
    # A tool's reply after the last question is new evidence, so it counts as part of the question.
    return Prompt(
        text="\n".join(_spoken(m) for m in rest[asked:]) if rest else "",
        context="\n".join(_spoken(m) for m in rest[:asked]) if rest else "",
        system="\n".join(_spoken(m) for m in system),
    )


def answer_of(message: Mapping[str, Any]) -> Answer:
    """The answer that an assistant message holds."""
    text = plain(message.get("content"))
    calls = _calls_of(message)
    return Answer(content=None if calls and not text else text, calls=calls)


def sample_of(row: Mapping[str, Any]) -> Sample:
    """One training row, supervised or preference, as a sample.

    A preference row trains on its preferred answer.
    """
    if "preferred_output" in row:
        messages = row["input"]["messages"]
        return Sample(prompt=prompt_of(messages), answer=answer_of(row["preferred_output"][-1]))
    messages = row["messages"]
    return Sample(prompt=prompt_of(messages[:-1]), answer=answer_of(messages[-1]))


def samples_of(lines: Iterable[bytes]) -> list[Sample]:
    """The samples of a validated JSONL training file."""
    return [sample_of(orjson.loads(line)) for line in lines if line.strip()]
