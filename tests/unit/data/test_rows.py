"""Row validation: every malformed row has its reason and its field; good ones get one form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from understudy.data import answer_text
from understudy.data.reasons import RowError
from understudy.data.rows import Row, parse_line, row_parser
from understudy.recipe import Cleaning

USER = {"role": "user", "content": "hello"}
ANSWER = {"role": "assistant", "content": "hi"}
FUNCTION = {"name": "track", "arguments": '{"id": 7}'}
CALL = {"id": "c1", "type": "function", "function": FUNCTION}
ASKS = {"role": "assistant", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "on its way"}
TOOL = {"type": "function", "function": {"name": "track", "parameters": {}}}


def chat(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": list(messages), **fields}


def logged(**changes: Any) -> dict[str, Any]:
    made = {
        "id": "r1",
        "messages": [USER],
        "response": {"message": ANSWER, "finish_reason": "stop", "usage": {"total_tokens": 3}},
    }
    return made | changes


def pair(**changes: Any) -> dict[str, Any]:
    made = {
        "input": {"messages": [USER]},
        "preferred_output": [ANSWER],
        "non_preferred_output": [{"role": "assistant", "content": "what"}],
    }
    return made | changes


def parsed(row: Any, kind: Any = "chat", **cleaning: Any) -> Row:
    data = row if isinstance(row, bytes) else json.dumps(row).encode()
    return row_parser(kind, Cleaning(**cleaning))(parse_line(data))


def refused(row: Any, kind: Any = "chat", **cleaning: Any) -> tuple[str, str]:
    with pytest.raises(RowError) as caught:
        parsed(row, kind, **cleaning)
    assert caught.value.message
    return caught.value.reason.value, caught.value.field


CHAT = {
    "broken": (b'{"messages": [', "broken_json", ""),
    "nan": (b'{"messages": NaN}', "broken_json", ""),
    "lone surrogate": (b'{"messages": "\\ud800"}', "broken_json", ""),
    "latin-1": ('{"messages": "caf\xe9"}'.encode("latin-1"), "not_utf8", ""),
    "nul byte": (b'{"messages": "\0"}', "nul_character", ""),
    "nul escape": (chat({"role": "user", "content": "a\0"}), "nul_character", "messages.0.content"),
    "array": (b"[]", "not_an_object", ""),
    "text": (b'"messages"', "not_an_object", ""),
    "other format": ({"prompt": "a", "completion": "b"}, "missing_field", "messages"),
    "unknown field": (chat(USER, ANSWER, tool=[]), "unknown_field", "tool"),
    "messages an object": ({"messages": {"role": "user"}}, "wrong_type", "messages"),
    "no messages": (chat(), "no_messages", "messages"),
    "message a string": (chat("hi"), "wrong_type", "messages.0"),
    "no role": (chat({"content": "a"}), "missing_field", "messages.0.role"),
    "wrong role": (chat(USER, {"role": "bot", "content": "a"}), "unknown_role", "messages.1.role"),
    "role a list": (chat({"role": [], "content": "a"}), "unknown_role", "messages.0.role"),
    "missing answer": (chat(ANSWER, USER), "missing_answer", "messages"),
    "only a question": (chat(USER), "missing_answer", "messages"),
    "assistant only": (chat(ANSWER, ANSWER), "assistant_only", "messages"),
    "answer alone": (chat(ANSWER), "assistant_only", "messages"),
    "empty": (
        chat(USER, {"role": "assistant", "content": ""}),
        "empty_content",
        "messages.1.content",
    ),
    "blank": (chat({"role": "user", "content": " \n"}), "empty_content", "messages.0.content"),
    "null": (chat({"role": "user", "content": None}), "empty_content", "messages.0.content"),
    "no parts": (chat({"role": "user", "content": []}), "empty_content", "messages.0.content"),
    "no content": (chat({"role": "user"}), "missing_field", "messages.0.content"),
    "number": (chat({"role": "user", "content": 5}), "wrong_type", "messages.0.content"),
    "image": (
        chat({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}),
        "unsupported_content",
        "messages.0.content.0.type",
    ),
    "part a string": (
        chat({"role": "user", "content": ["a"]}),
        "wrong_type",
        "messages.0.content.0",
    ),
    "refusal": (
        chat(USER, {"role": "assistant", "content": None, "refusal": "no"}),
        "refusal",
        "messages.1.refusal",
    ),
    "odd key": (chat(USER | {"contnet": "a"}), "unknown_field", "messages.0.contnet"),
    "weight 2": (chat(USER, ANSWER | {"weight": 2}), "bad_weight", "messages.1.weight"),
    "weight true": (chat(USER, ANSWER | {"weight": True}), "bad_weight", "messages.1.weight"),
    "weight a list": (chat(USER, ANSWER | {"weight": []}), "bad_weight", "messages.1.weight"),
    "weight of a user": (chat(USER | {"weight": 1}, ANSWER), "bad_weight", "messages.0.weight"),
    "all weigh 0": (chat(USER, ANSWER | {"weight": 0}), "bad_weight", "messages"),
    "calls by a user": (
        chat(USER | {"tool_calls": [CALL]}),
        "bad_tool_call",
        "messages.0.tool_calls",
    ),
    "call without id": (
        chat(USER, {"role": "assistant", "tool_calls": [{**CALL, "id": None}]}),
        "bad_tool_call",
        "messages.1.tool_calls.0.id",
    ),
    "call of no function": (
        chat(USER, {"role": "assistant", "tool_calls": [{"id": "c"}]}),
        "bad_tool_call",
        "messages.1.tool_calls.0",
    ),
    "broken arguments": (
        chat(
            USER,
            {
                "role": "assistant",
                "tool_calls": [{**CALL, "function": {"name": "f", "arguments": '{"a'}}],
            },
        ),
        "bad_tool_call",
        "messages.1.tool_calls.0.function.arguments",
    ),
    "tool out of nothing": (
        chat(USER, RESULT, ANSWER),
        "unmatched_tool_call",
        "messages.1.tool_call_id",
    ),
    "other tool id": (
        chat(USER, ASKS, RESULT | {"tool_call_id": "c9"}, ANSWER),
        "unmatched_tool_call",
        "messages.2.tool_call_id",
    ),
    "tool without id": (
        chat(USER, ASKS, {"role": "tool", "content": "x"}, ANSWER),
        "missing_field",
        "messages.2.tool_call_id",
    ),
    "call without tool": (chat(USER, ASKS, USER, ANSWER), "unanswered_tool_call", "messages.2"),
    "tools an object": (chat(USER, ANSWER, tools={}), "bad_tools", "tools"),
    "tool without name": (
        chat(USER, ANSWER, tools=[TOOL, {"type": "function"}]),
        "bad_tools",
        "tools.1",
    ),
    "parallel a string": (
        chat(USER, ANSWER, parallel_tool_calls="no"),
        "wrong_type",
        "parallel_tool_calls",
    ),
    "source a number": (chat(USER, ANSWER, source_id=3), "wrong_type", "source_id"),
}


@pytest.mark.parametrize("name", CHAT)
def test_malformed_chat_row(name: str) -> None:
    row, reason, field = CHAT[name]
    assert refused(row) == (reason, field)


CALLS = {
    "no id": (logged(id=None), "missing_field", "id"),
    "unknown field": (logged(flag=["bad"]), "unknown_field", "flag"),
    "failed": (logged(error={"code": 500}), "error", "error"),
    "no response": (logged(response=None), "incomplete", "response"),
    "empty answer": (
        logged(response={"message": ANSWER | {"content": " "}}),
        "incomplete",
        "response.message",
    ),
    "cut off": (
        logged(response={"message": ANSWER, "finish_reason": "length"}),
        "truncated",
        "response.finish_reason",
    ),
    "filtered": (
        logged(response={"message": ANSWER, "finish_reason": "content_filter"}),
        "truncated",
        "response.finish_reason",
    ),
    "flagged": (logged(flags=["hallucination"]), "flagged", "flags"),
    "flags a string": (logged(flags="bad"), "wrong_type", "flags"),
    "response a string": (logged(response="hi"), "wrong_type", "response"),
    "low score": (logged(scores={"judge": 0.4}), "low_score", "scores.judge"),
    "score a string": (logged(scores={"judge": "good"}), "wrong_type", "scores.judge"),
    "answer by a user": (
        logged(response={"message": USER | {"role": "robot"}}),
        "unknown_role",
        "response.message.role",
    ),
    "bad request": (logged(messages=[{"role": "user"}]), "missing_field", "messages.0.content"),
    "messages a string": (logged(messages="hi"), "wrong_type", "messages"),
}


@pytest.mark.parametrize("name", CALLS)
def test_call_that_is_dropped(name: str) -> None:
    row, reason, field = CALLS[name]
    assert refused(row, "calls", min_score={"judge": 0.5}) == (reason, field)


PAIRS = {
    "no preferred": (pair(preferred_output=None), "missing_field", "preferred_output"),
    "input a list": (pair(input=[USER]), "wrong_type", "input"),
    "no answer": (pair(preferred_output=[USER]), "missing_answer", "preferred_output"),
    "empty": (pair(non_preferred_output=[]), "no_messages", "non_preferred_output"),
    "same": (pair(non_preferred_output=[ANSWER]), "same_answers", "non_preferred_output"),
    "bad part": (
        pair(input={"messages": [{"role": "x"}]}),
        "unknown_role",
        "input.messages.0.role",
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_malformed_pair(name: str) -> None:
    row, reason, field = PAIRS[name]
    assert refused(row, "preference") == (reason, field)


def test_a_row_nested_too_deeply_is_refused() -> None:
    deep: Any = {}
    for _ in range(400):
        deep = {"a": deep}
    tool = {"type": "function", "function": {"name": "f", "parameters": deep}}
    assert refused(chat(USER, ANSWER, tools=[tool])) == ("too_deep", "")


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(RowError) as caught:
        parsed(chat({"role": "asistant", "content": "a"}))
    assert "did you mean 'assistant'?" in caught.value.message


def test_tool_calls_need_no_content_and_get_one_form() -> None:
    for content in ({}, {"content": None}, {"content": ""}):
        row = parsed(chat(USER, {**ASKS, **content}, RESULT, ASKS | {"refusal": None}))
        assert row.example.messages == (USER, ASKS, RESULT, ASKS)


def test_arguments_become_a_json_string() -> None:
    asks = {
        "role": "assistant",
        "tool_calls": [{**CALL, "function": {**FUNCTION, "arguments": {"id": 7}}}],
    }
    row = parsed(chat(USER, asks))
    assert row.example.messages[-1]["tool_calls"][0]["function"]["arguments"] == '{"id":7}'
    bare = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f"}}]}
    assert parsed(chat(USER, bare)).example.messages[-1]["tool_calls"] == [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]


def test_text_parts_stay_parts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    row = parsed(chat({"role": "user", "content": parts}, ANSWER))
    assert row.example.messages[0]["content"] == parts


def test_retired_function_calls_become_tool_calls() -> None:
    asks = {"role": "assistant", "content": None, "function_call": FUNCTION}
    result = {"role": "function", "name": "track", "content": "on its way"}
    row = parsed(chat(USER, asks, result, ANSWER, functions=[{"name": "track"}]))
    made, told = row.example.messages[1:3]
    assert made["tool_calls"][0]["function"] == FUNCTION
    assert told["role"] == "tool"
    assert told["tool_call_id"] == made["tool_calls"][0]["id"]
    assert row.example.tools == ({"type": "function", "function": {"name": "track"}},)


def test_weights_and_names_stay_and_reply_only_keys_go() -> None:
    answer: dict[str, Any] = ANSWER | {
        "weight": 0,
        "annotations": [],
        "audio": None,
        "refusal": None,
    }
    row = parsed(chat(USER | {"name": "ann"}, answer, USER, ANSWER | {"weight": 1.0}))
    assert row.example.messages[0]["name"] == "ann"
    assert row.example.messages[1] == ANSWER | {"weight": 0}
    assert row.example.messages[3]["weight"] == 1


def test_blank_system_prompt_and_silent_tool_are_kept() -> None:
    system = {"role": "system", "content": ""}
    row = parsed(chat(system, USER, ASKS, RESULT | {"content": ""}, ANSWER))
    assert row.example.messages[0] == system
    assert row.example.messages[3]["content"] == ""


def test_source_of_a_call_is_its_conversation_then_its_id() -> None:
    assert parsed(logged(conversation_id="t1"), "calls").example.source_id == "t1"
    assert parsed(logged(), "calls").example.source_id == "r1"


def test_rows_without_source_share_one_by_their_question() -> None:
    one = parsed(chat(USER, ANSWER))
    other = parsed(chat(USER, {"role": "assistant", "content": "good day"}))
    third = parsed(chat(USER | {"content": "bye"}, ANSWER))
    assert one.example.source_id == other.example.source_id != third.example.source_id
    assert one.digest != other.digest


def test_digest_leaves_key_order_and_source_out() -> None:
    turned = chat({"content": "hello", "role": "user"}, ANSWER, source_id="x", metadata={"a": 1})
    assert parsed(turned).digest == parsed(chat(USER, ANSWER)).digest


def test_filters_that_are_off_let_calls_through() -> None:
    cut = logged(
        flags=["bad"], error={"code": 1}, response={"message": ANSWER, "finish_reason": "length"}
    )
    assert parsed(cut, "calls", drop=()).example.messages == (USER, ANSWER)
    assert refused(logged(response=None), "calls", drop=()) == ("incomplete", "response")


def test_rows_without_the_score_stay() -> None:
    row = parsed(logged(scores={"other": 0}), "calls", min_score={"judge": 0.5})
    assert row.turn == 1


def test_reference_and_tools_of_a_call_are_kept() -> None:
    row = parsed(logged(reference="better", tools=[TOOL]), "calls")
    assert row.example.reference == "better"
    assert row.example.tools == (TOOL,)


def test_text_of_answers() -> None:
    assert answer_text(ANSWER) == "hi"
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert answer_text({"role": "assistant", "content": parts}) == "ab"
    assert answer_text(ASKS) == '[{"arguments":{"id":7},"name":"track"}]'
    other = {
        "role": "assistant",
        "tool_calls": [{"id": "zz", "function": {"arguments": '{"id":7}', "name": "track"}}],
    }
    assert answer_text(other) == answer_text(ASKS)
    broken = {"tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}
    assert json.loads(answer_text(broken)) == [{"name": "f", "arguments": "{"}]
    assert answer_text({"role": "assistant", "content": None}) == ""
    bare = {"tool_calls": [{"type": "custom"}]}
    assert json.loads(answer_text(bare)) == [{"name": None, "arguments": {}}]


def test_repr_shows_no_text() -> None:
    assert "hello" not in repr(parsed(chat(USER, ANSWER)))
