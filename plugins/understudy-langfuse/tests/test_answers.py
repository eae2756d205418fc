from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy_langfuse.answers import answer_of, finish_reason

TEXT = {"role": "assistant", "content": "On its way."}
CALLS = {
    "role": "assistant",
    "content": "Let me look.",
    "tool_calls": [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "track", "arguments": '{"order":7}'},
        }
    ],
}

TEXTS: dict[str, Any] = {
    "a text": "On its way.",
    "a message": {"role": "assistant", "content": "On its way.", "annotations": []},
    "a completion": {"choices": [{"message": TEXT, "finish_reason": "stop"}]},
    "an old completion": {"choices": [{"text": "On its way.", "finish_reason": "stop"}]},
    "LangChain's message": {"type": "ai", "content": "On its way.", "response_metadata": {}},
    "LangChain's generations": {"generations": [[{"text": "On its way."}]]},
    "Anthropic's blocks": [{"type": "thinking", "thinking": "x"},
                           {"type": "text", "text": "On its way."}],
    "a Response": {"status": "completed", "output": [
        {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant",
         "content": [{"type": "output_text", "text": "On its way."}]}]},
    "Gemini's": {"candidates": [{"content": {"role": "model", "parts": [{"text": "On its way."}]},
                                 "finishReason": "STOP"}]},
    "OpenTelemetry's": [{"role": "assistant", "finish_reason": "stop",
                         "parts": [{"type": "text", "content": "On its way."}]}],
    "only content": {"content": "On its way."},
}  # fmt: skip


@pytest.mark.parametrize("encode", [lambda v: v, json.dumps], ids=["value", "string"])
@pytest.mark.parametrize("shape", TEXTS)
def test_every_sdks_answer_becomes_the_same_message(shape, encode) -> None:
    value = TEXTS[shape]
    answer = answer_of(value if isinstance(value, str) else encode(value))
    assert answer is not None
    assert answer.message == TEXT
    assert answer.finish in {None, "stop"}


TOOL_CALLS: dict[str, Any] = {
    "OpenAI's": CALLS,
    "Anthropic's": {"role": "assistant", "stop_reason": "tool_use", "content": [
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "call_1", "name": "track", "input": {"order": 7}}]},
    "a Response's": {"output": [
        {"type": "message", "role": "assistant",
         "content": [{"type": "output_text", "text": "Let me look."}]},
        {"type": "function_call", "call_id": "call_1", "name": "track",
         "arguments": '{"order":7}'}]},
    "OpenTelemetry's": [{"role": "assistant", "finish_reason": "tool_call", "parts": [
        {"type": "text", "content": "Let me look."},
        {"type": "tool_call", "id": "call_1", "name": "track", "arguments": {"order": 7}}]}],
}  # fmt: skip


@pytest.mark.parametrize("shape", TOOL_CALLS)
def test_tool_calls_of_every_sdk_become_the_same(shape) -> None:
    answer = answer_of(json.dumps(TOOL_CALLS[shape]))
    assert answer is not None
    assert answer.message == CALLS
    assert answer.finish in {None, "tool_calls"}


@pytest.mark.parametrize(
    "said",
    ['{"intent": "track", "order": 7}', '["a", "b"]', '{"content": "a", "title": "b"}',
     "12", "true", '"quoted"', '[{"item": 1}]', '{"cut": '],
)  # fmt: skip
def test_an_answer_that_is_json_stays_the_text_that_it_was(said) -> None:
    answer = answer_of(said)
    assert answer is not None
    assert answer.message == {"role": "assistant", "content": said}


def test_a_parsed_json_answer_becomes_text_again() -> None:
    answer = answer_of({"intent": "track"})
    assert answer is not None
    assert json.loads(answer.message["content"]) == {"intent": "track"}


@pytest.mark.parametrize("nothing", [None, {}, [], "[]"])
def test_no_output_is_no_answer(nothing) -> None:
    assert answer_of(nothing) is None


@pytest.mark.parametrize(
    ("said", "means"),
    [("max_tokens", "length"), ("MAX_TOKENS", "length"), ("end_turn", "stop"), ("stop", "stop"),
     ("tool-calls", "tool_calls"), (["length"], "length"), ('["tool_use"]', "tool_calls"),
     ("eaten", "eaten"), (None, None), (7, None), ([], None)],
)  # fmt: skip
def test_why_it_ended_is_told_in_one_language(said, means) -> None:
    assert finish_reason(said) == means


def test_a_refusal_is_kept_for_the_dataset_to_drop() -> None:
    answer = answer_of({"role": "assistant", "content": None, "refusal": "no"})
    assert answer is not None
    assert answer.message["refusal"] == "no"


@given(st.text(min_size=1))
def test_plain_text_is_the_answer(text) -> None:
    answer = answer_of(text)
    assert answer is None or answer.message["role"] == "assistant"
    if text.lstrip()[:1] not in {"{", "[", '"'}:
        assert answer is not None
        assert answer.message["content"] == text


@settings(max_examples=40)
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["role", "content", "choices", "output", "type", "message", "parts"]),
        inner,
    ),
))  # fmt: skip
def test_nothing_that_is_json_breaks_it(value) -> None:
    for logged in (value, json.dumps(value)):
        answer = answer_of(logged)
        assert answer is None or answer.message["role"] == "assistant"
