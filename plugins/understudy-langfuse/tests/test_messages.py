from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy_langfuse.messages import request_of
from understudy_langfuse.shapes import ShapeError, decoded

ASK = {"role": "user", "content": "Where is my parcel?"}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "track", "arguments": '{"order":7}'},
}
TURN = [
    {"role": "system", "content": "You help."},
    ASK,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "on its way", "tool_call_id": "call_1"},
]
TOOL = {
    "type": "function",
    "function": {"name": "track", "description": "d", "parameters": {"type": "object"}},
}

SHAPES: dict[str, Any] = {
    "messages": TURN,
    "messages in a string": json.dumps(TURN),
    "messages in a string in a string": json.dumps(json.dumps(TURN)),
    "a request body": {"model": "gpt-4o", "messages": TURN},
    "a batch of one": [TURN],
    "Anthropic's body": {
        "system": "You help.",
        "messages": [
            ASK,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm"},
                    {"type": "tool_use", "id": "call_1", "name": "track", "input": {"order": 7}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "call_1",
                        "content": [{"type": "text", "text": "on its way"}],
                    }
                ],
            },
        ],
    },
    "OpenAI's Responses": {
        "instructions": "You help.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Where is my parcel?"}]},
            {"type": "reasoning", "summary": []},
            {"type": "function_call", "call_id": "call_1", "name": "track",
             "arguments": '{"order":7}', "id": "fc_1"},
            {"type": "function_call_output", "call_id": "call_1", "output": "on its way"},
        ],
    },
    "LangChain's messages": [
        {"type": "system", "content": "You help."},
        {"type": "human", "content": "Where is my parcel?", "additional_kwargs": {}},
        {"type": "ai", "content": None,
         "tool_calls": [{"name": "track", "args": {"order": 7}, "id": "call_1"}]},
        {"type": "tool", "content": "on its way", "tool_call_id": "call_1"},
    ],
    "LangChain's stored messages": [
        {"type": "system", "data": {"content": "You help."}},
        {"type": "human", "data": {"content": "Where is my parcel?"}},
        {"type": "ai", "data": {"content": None, "additional_kwargs": {"tool_calls": [CALL]}}},
        {"type": "tool", "data": {"content": "on its way", "tool_call_id": "call_1"}},
    ],
    "OpenTelemetry's messages": [
        {"role": "system", "parts": [{"type": "text", "content": "You help."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Where is my parcel?"}]},
        {"role": "assistant", "parts": [
            {"type": "tool_call", "id": "call_1", "name": "track", "arguments": {"order": 7}}]},
        {"role": "tool", "parts": [
            {"type": "tool_call_response", "id": "call_1", "response": "on its way"}]},
    ],
    "the AI SDK's messages": [
        {"role": "system", "content": "You help."},
        {"role": "user", "content": [{"type": "text", "text": "Where is my parcel?"}]},
        {"role": "assistant", "content": [
            {"type": "tool-call", "toolCallId": "call_1", "toolName": "track",
             "input": {"order": 7}}]},
        {"role": "tool", "content": [
            {"type": "tool-result", "toolCallId": "call_1", "toolName": "track",
             "output": {"type": "text", "value": "on its way"}}]},
    ],
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_every_sdks_request_becomes_the_same_messages(shape) -> None:
    assert request_of(SHAPES[shape]).messages == TURN


def test_gemini_names_calls_by_their_function() -> None:
    body = {
        "systemInstruction": {"parts": [{"text": "You help."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Where?"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "track", "args": {"o": 7}}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "track", "response": {"where": "here"}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "track", "parameters": {}}]}],
    }  # fmt: skip
    made = request_of(body)
    assert [m["role"] for m in made.messages] == ["system", "user", "assistant", "tool"]
    assert made.messages[2]["tool_calls"][0]["function"]["arguments"] == '{"o":7}'
    assert made.messages[3]["content"] == '{"where":"here"}'
    assert made.tools == [{"type": "function", "function": {"name": "track", "parameters": {}}}]


@pytest.mark.parametrize(
    "tools",
    [
        [TOOL],
        [{"type": "function", **TOOL["function"]}],
        [{"name": "track", "description": "d", "input_schema": {"type": "object"}}],
        [json.dumps({"type": "function", "name": "track", "description": "d",
                     "inputSchema": {"type": "object"}})],
    ],
    ids=["chat", "responses", "anthropic", "in strings"],
)  # fmt: skip
def test_every_sdks_tools_become_the_same_definitions(tools) -> None:
    assert request_of({"messages": [ASK], "tools": tools}).tools == [TOOL]


def test_tools_that_a_tracer_wrote_among_the_messages_are_taken_out() -> None:
    made = request_of([ASK, {"role": "tool", "content": TOOL}])
    assert (made.messages, made.tools) == ([ASK], [TOOL])


def test_retired_functions_and_parallel_calls_are_kept() -> None:
    body = {"messages": [ASK], "functions": [TOOL["function"]], "parallel_tool_calls": False}
    made = request_of(body)
    assert (made.tools, made.parallel) == ([TOOL], False)


def test_text_is_what_the_user_said() -> None:
    assert request_of("Hello").messages == [{"role": "user", "content": "Hello"}]
    assert request_of({"prompt": "Hello"}).messages == [{"role": "user", "content": "Hello"}]
    assert request_of('{"prompt": "Hel').messages[0]["content"] == '{"prompt": "Hel'


def test_several_texts_stay_several_and_images_are_left_for_the_dataset_to_refuse() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert request_of([{"role": "user", "content": parts}]).messages[0]["content"] == parts
    image = {"type": "image_url", "image_url": {"url": "data:"}}
    found = request_of([{"role": "user", "content": [parts[0], image]}]).messages[0]["content"]
    assert found == [parts[0], image]


def test_calls_without_ids_get_one_each() -> None:
    call = {"name": "f", "args": {}}
    made = request_of([ASK, {"role": "ai", "content": "", "tool_calls": [call, call]}, ASK])
    assert [c["id"] for c in made.messages[1]["tool_calls"]] == ["call_1", "call_2"]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (None, "input"),
        ("  ", "input"),
        ([], "input"),
        ([1, 2], "input"),
        ({"question": "?"}, "input"),
        ({"messages": None}, "input"),
        ([{"a": 1}], "input"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "judge", "content": "b"}]},
         "input.messages.1.role"),
    ],
)  # fmt: skip
def test_what_is_no_request_says_where_and_why(value, place) -> None:
    with pytest.raises(ShapeError) as caught:
        request_of(value)
    assert caught.value.place == place
    assert len(caught.value.message) > 10


texts = st.text(min_size=1).filter(lambda text: text.strip())
calls = st.builds(
    lambda number, name, order: {
        "id": f"c{number}",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps({"order": order})},
    },
    st.integers(0, 9),
    st.sampled_from(["track", "refund"]),
    st.integers(),
)
turns = st.one_of(
    st.builds(lambda t: [{"role": "user", "content": t}], texts),
    st.builds(lambda t: [{"role": "assistant", "content": t}], texts),
    st.builds(
        lambda t, call: [
            {"role": "assistant", "content": t, "tool_calls": [call]},
            {"role": "tool", "content": "done", "tool_call_id": call["id"]},
        ],
        st.none() | texts,
        calls,
    ),
)


@given(
    turns=st.lists(turns, min_size=1, max_size=5),
    depth=st.integers(0, 2),
    body=st.booleans(),
)
def test_openais_messages_come_out_as_they_went_in(turns, depth, body) -> None:
    messages = [message for turn in turns for message in turn]
    logged: Any = {"messages": messages} if body else messages
    for _ in range(depth):
        logged = json.dumps(logged)
    assert request_of(logged).messages == messages


@settings(max_examples=40)
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["role", "content", "parts", "type", "messages", "tools", "data", "x"]),
        inner,
    ),
))  # fmt: skip
def test_nothing_that_is_json_breaks_it(value) -> None:
    for logged in (value, json.dumps(value)):
        try:
            made = request_of(logged)
        except ShapeError:
            continue
        assert made.messages
        assert all(isinstance(message["role"], str) for message in made.messages)


@given(st.text())
def test_text_that_is_no_object_stays_what_it_is(text) -> None:
    if not isinstance(decoded(text), dict | list):
        assert decoded(text) == text
