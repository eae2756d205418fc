"""From a parsed line to a row: the three documented shapes of input.

``chat``: ``{"messages": [...], "tools"?, "functions"?, "parallel_tool_calls"?, "source_id"?,
"reference"?, "metadata"?}``; the last message is the assistant's answer.

``calls``, one logged call a line: ``{"id", "messages": [request], "response": {"message",
"finish_reason"?, "usage"?} | null, "conversation_id"?, "at"?, "model"?, "tools"?, "error"?,
"flags"?: [str], "scores"?: {name: number}, "reference"?: str, "metadata"?}``.

``preference``: ``{"input": {"messages", "tools"?, "parallel_tool_calls"?}, "preferred_output":
[...], "non_preferred_output": [...], "source_id"?, "reference"?, "metadata"?}``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from understudy.data.clean import check_call
from understudy.data.messages import (
    Object,
    check_keys,
    check_messages,
    check_tools,
    legacy_tools,
)
from understudy.data.reasons import Reason, RowError
from understudy.model import Conversation, Example, Message
from understudy.recipe import Cleaning

__all__ = ["Row", "answer_text", "conversation", "parse_line", "rebuilt", "row_parser"]

_META = frozenset({"source_id", "reference", "metadata"})
_CHAT = _META | {"messages", "tools", "functions", "parallel_tool_calls"}
_PAIR = _META | {"input", "preferred_output", "non_preferred_output"}
_CALL = frozenset(
    {
        "at",
        "conversation_id",
        "error",
        "flags",
        "id",
        "messages",
        "metadata",
        "model",
        "parallel_tool_calls",
        "reference",
        "response",
        "scores",
        "tools",
    }
)
_INPUT = frozenset({"messages", "tools", "parallel_tool_calls"})
_DIGEST_BYTES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """An example with what is needed to write it.

    ``turn`` is the index of the first message of the answer. ``digest`` identifies request and
    answer, key order left out. ``parallel`` is ``parallel_tool_calls`` where it was given. ``log``
    is the record that it came from.
    """

    example: Example = field(repr=False)
    turn: int
    digest: bytes
    parallel: bool | None = None
    log: Object = field(default_factory=dict, repr=False, compare=False)

    @property
    def score(self) -> float:
        """The mean of the logged scores; minus infinity where there is none."""
        scores = _scores(self.log)
        return sum(scores.values()) / len(scores) if scores else float("-inf")


def parse_line(data: bytes) -> Object:
    """The JSON object on a line.

    Raises:
        RowError: not UTF-8, not JSON, not an object, or a NUL in a string.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _broken(data, error) from None
    if type(value) is not dict:
        raise RowError(Reason.NOT_AN_OBJECT, "", "the line must be one JSON object")
    if b"\\u0000" in data:
        _refuse_nul(value, "")
    return value


def _broken(data: bytes, error: orjson.JSONDecodeError) -> RowError:
    try:
        data.decode()
    except UnicodeDecodeError as bad:
        return RowError(
            Reason.NOT_UTF8, "", f"byte {bad.start + 1} is not UTF-8; save the file as UTF-8"
        )
    if b"\0" in data:
        return RowError(Reason.NUL_CHARACTER, "", "there is a NUL byte; was the file cut off?")
    return RowError(Reason.BROKEN_JSON, "", f"not JSON at character {error.pos + 1}: {error.msg}")


def _refuse_nul(value: Any, place: str) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise RowError(Reason.NUL_CHARACTER, place, "there is a NUL character; take it out")
        return
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        _refuse_nul(key, place)
        _refuse_nul(item, f"{place}.{key}" if place else str(key))


def row_parser(kind: str, cleaning: Cleaning) -> Callable[[Object], Row]:
    """The function that makes a row of one parsed line; it raises ``RowError``.

    Args:
        kind: "chat", "preference", or any other for calls.
        cleaning: filters of calls.
    """
    if kind == "chat":
        return _chat
    if kind == "preference":
        return _preference
    return lambda raw: _call(raw, cleaning)


def _chat(raw: Object) -> Row:
    _need(raw, "messages")
    check_keys(raw, _CHAT, "")
    messages = check_messages(raw["messages"], "messages")
    tools = check_tools(raw.get("tools"), "tools") or legacy_tools(raw.get("functions"))
    return _row(raw, messages[:-1], messages[-1:], tools, raw.get("parallel_tool_calls"))


def _call(raw: Object, cleaning: Cleaning) -> Row:
    _need(raw, "messages", "id")
    check_keys(raw, _CALL, "")
    answer = check_call(raw, cleaning)
    asked = raw["messages"]
    whole = [*asked, answer] if isinstance(asked, list) else asked
    try:
        messages = check_messages(whole, "messages")
    except RowError as error:
        last = f"messages.{len(asked)}"
        error.field = re.sub(rf"^{last}(?=\.|$)", "response.message", error.field)
        raise
    raw = raw | {"source_id": raw.get("conversation_id") or raw["id"]}
    tools = check_tools(raw.get("tools"), "tools")
    return _row(raw, messages[:-1], messages[-1:], tools, raw.get("parallel_tool_calls"))


def _preference(raw: Object) -> Row:
    _need(raw, "input", "preferred_output", "non_preferred_output")
    check_keys(raw, _PAIR, "")
    asked = raw["input"]
    if not isinstance(asked, dict) or "messages" not in asked:
        raise RowError(Reason.WRONG_TYPE, "input", 'must be {"messages": [...], "tools"?}')
    check_keys(asked, _INPUT, "input")
    request = check_messages(asked["messages"], "input.messages")
    preferred = _output(raw, "preferred_output")
    rejected = _output(raw, "non_preferred_output")
    if preferred == rejected:
        raise RowError(
            Reason.SAME_ANSWERS, "non_preferred_output", "is the same as preferred_output"
        )
    tools = check_tools(asked.get("tools"), "input.tools")
    parallel = asked.get("parallel_tool_calls")
    return _row(raw, request, preferred, tools, parallel, rejected)


def _output(raw: Object, name: str) -> list[Object]:
    messages = check_messages(raw[name], name)
    if messages[-1]["role"] != "assistant":
        raise RowError(Reason.MISSING_ANSWER, name, "must end with an assistant message")
    return messages


def _need(raw: Object, *names: str) -> None:
    for name in names:
        if raw.get(name) is None:
            raise RowError(Reason.MISSING_FIELD, name, "is missing; is this another format?")


def _row(  # noqa: PLR0917 - the parts of a row, in the order of reading
    raw: Object,
    request: list[Object],
    answer: list[Object],
    tools: list[Object],
    parallel: Any,
    rejected: list[Object] | None = None,
) -> Row:
    messages = request + answer
    if messages[-1]["role"] != "assistant":
        raise RowError(Reason.MISSING_ANSWER, "messages", "must end with the assistant's answer")
    if all(message["role"] == "assistant" for message in request):
        raise RowError(Reason.ASSISTANT_ONLY, "messages", "nothing was asked; add the request")
    if all(m.get("weight") == 0 for m in messages if m["role"] == "assistant"):
        raise RowError(Reason.BAD_WEIGHT, "messages", "every answer weighs 0: nothing to learn")
    if parallel is not None and type(parallel) is not bool:
        raise RowError(Reason.WRONG_TYPE, "parallel_tool_calls", "must be true or false")
    source_id, digest = _identify(raw, request, [answer, tools, rejected, parallel])
    example = Example(
        messages=tuple(messages),
        source_id=source_id,
        tools=tuple(tools),
        reference=_optional(raw, "reference"),
        rejected=tuple(rejected or ()),
    )
    return Row(example=example, turn=len(request), digest=digest, parallel=parallel, log=raw)


def conversation(row: Row) -> Conversation:
    """The row as filters see it."""
    log, example = row.log, row.example
    response = log.get("response")
    finish = response.get("finish_reason") if isinstance(response, dict) else None
    metadata, flags = log.get("metadata"), log.get("flags")
    return Conversation(
        messages=example.messages,
        turn=row.turn,
        source_id=example.source_id,
        tools=example.tools,
        finish_reason=finish if isinstance(finish, str) else None,
        flags=tuple(str(flag) for flag in flags) if isinstance(flags, list) else (),
        scores=_scores(log),
        metadata=metadata if isinstance(metadata, dict) else {},
        model=_said(log, "model"),
        at=_said(log, "at"),
        reference=example.reference,
        rejected=example.rejected,
    )


def rebuilt(row: Row, seen: Conversation) -> Row:
    """``row`` with what a filter made of it. It stays with the conversation that it is from."""
    example = replace(
        row.example,
        messages=seen.messages,
        tools=seen.tools,
        reference=seen.reference,
        rejected=seen.rejected,
    )
    request, answer = list(seen.messages[: row.turn]), list(seen.messages[row.turn :])
    rejected = list(seen.rejected) if seen.rejected else None
    rest = [answer, list(seen.tools), rejected, row.parallel]
    _, digest = _identify({}, request, rest)
    return replace(row, example=example, digest=digest)


def _scores(log: Object) -> dict[str, float]:
    scores = log.get("scores")
    if not isinstance(scores, dict):
        return {}
    return {
        name: float(value)
        for name, value in scores.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _said(log: Object, name: str) -> str | None:
    value = log.get(name)
    return value if isinstance(value, str) else None


def _identify(raw: Object, request: Sequence[Message], rest: list[Any]) -> tuple[str, bytes]:
    # Without a source of its own, a row belongs to what was asked: the same question with two
    # answers never lands on both sides of a split.
    source = _optional(raw, "source_id")
    try:
        asked = orjson.dumps(request, option=orjson.OPT_SORT_KEYS)
        given = orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        raise RowError(Reason.TOO_DEEP, "", "values are nested too deeply; flatten them") from None
    state = hashlib.blake2b(asked, digest_size=_DIGEST_BYTES)
    if source is None:
        source = state.hexdigest()
    state.update(given)
    return source, state.digest()


def _optional(raw: Object, name: str) -> str | None:
    value = raw.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise RowError(Reason.WRONG_TYPE, name, "must be a string")
    return value or None


def answer_text(message: Message) -> str:
    """What an answer says, as one comparable text; the form in which test labels are kept.

    Tool calls come as canonical JSON, ``[{"arguments": {...}, "name": "..."}]`` with sorted keys
    and without their random ids; text beside them is left out. Otherwise it is the text, of all
    parts. Arguments that are not JSON stay a string.
    """
    calls = message.get("tool_calls")
    if calls:
        functions = [call.get("function") or {} for call in calls]
        plain = [
            {"name": function.get("name"), "arguments": _loads(function.get("arguments") or "{}")}
            for function in functions
        ]
        return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS).decode()
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())


def _loads(arguments: str) -> Any:
    try:
        return orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
