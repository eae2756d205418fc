"""Row validation on anything: a row comes out in the one form, or a reason does."""

from __future__ import annotations

import json
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data import Reason
from understudy.data.reasons import RowError
from understudy.data.rows import Row, parse_line, row_parser
from understudy.recipe import Cleaning

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"id": 7}'}}


def parsed(row: Any, kind: Any = "chat") -> Row:
    return row_parser(kind, Cleaning())(parse_line(json.dumps(row).encode()))


keys = st.sampled_from(
    [
        "messages",
        "role",
        "content",
        "tool_calls",
        "tool_call_id",
        "name",
        "weight",
        "tools",
        "function",
        "arguments",
        "id",
        "type",
        "text",
        "response",
        "message",
        "finish_reason",
        "flags",
        "scores",
        "error",
        "conversation_id",
        "input",
        "preferred_output",
        "non_preferred_output",
        "source_id",
        "refusal",
        "function_call",
        "functions",
    ]
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["user", "assistant", "tool", "function", "text", "c1", "", " ", "\0", "{}"])
)
junk = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6),
    max_leaves=25,
)


@settings(deadline=None)
@given(row=st.dictionaries(keys, junk), kind=st.sampled_from(["chat", "calls", "preference"]))
def test_any_object_is_a_row_or_refused(row: dict[str, Any], kind: Any) -> None:
    try:
        made: Any = parsed(row, kind).example.messages[-1]["role"]
    except RowError as error:
        made = error.reason
    assert made == "assistant" or made in Reason


@settings(deadline=None)
@given(raw=st.binary(max_size=60))
def test_any_bytes_are_an_object_or_refused(raw: bytes) -> None:
    try:
        made: Any = type(parse_line(raw))
    except RowError as error:
        made = error.reason
    assert made is dict or made in Reason


messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "system"])},
        optional={
            "content": st.none()
            | st.sampled_from(["", "text"])
            | st.just([{"type": "text", "text": "t"}]),
            "tool_calls": st.lists(st.just(CALL), max_size=1),
            "tool_call_id": st.sampled_from(["c1", "c2"]),
            "weight": st.sampled_from([0, 1]),
        },
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(messages)
def test_the_one_form_is_a_fixed_point(given_messages: list[dict[str, Any]]) -> None:
    try:
        row = parsed({"messages": given_messages})
    except RowError:
        return
    again = parsed({"messages": list(row.example.messages)})
    assert again.example == row.example
    assert again.digest == row.digest
    assert orjson.loads(orjson.dumps(row.example.messages)) == list(row.example.messages)
