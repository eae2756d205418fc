"""Rows of each ecosystem: written, read back, the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data.formats import FORMATS, LIMITS, check_rows, read_row, row_writer
from understudy.data.reasons import RowError
from understudy.model import Example, Method, Rows

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
said = words.filter(lambda text: bool(text) and not text.isspace())
scalars = st.none() | st.booleans() | st.integers(-9, 9) | words
arguments = st.dictionaries(words, scalars | st.lists(scalars, max_size=2), max_size=3)


def plain(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@st.composite
def calling(draw: Any, number: int) -> list[dict[str, Any]]:
    """An assistant's message with tool calls, and what the tools answered."""
    ids = [f"call_{number}_{at}" for at in range(draw(st.integers(1, 2)))]
    calls = [
        {
            "id": each,
            "type": "function",
            "function": {"name": "track", "arguments": plain(draw(arguments))},
        }
        for each in ids
    ]
    message: dict[str, Any] = {"role": "assistant"}
    if draw(st.booleans()):
        message["content"] = draw(said)
    results = [
        {
            "role": "tool",
            "content": draw(said | arguments.map(plain)),
            "tool_call_id": each,
        }
        for each in ids
    ]
    return [message | {"tool_calls": calls}, *results]


TOOL = {
    "type": "function",
    "function": {"name": "track", "parameters": {"type": "object", "properties": {}}},
}


@st.composite
def examples(draw: Any, method: Method = "supervised") -> Example:
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(said)})
    tools = draw(st.booleans())
    for turn in range(draw(st.integers(0, 2))):
        messages.append({"role": "user", "content": draw(said)})
        if tools and draw(st.booleans()):
            messages += draw(calling(turn))
        messages.append({"role": "assistant", "content": draw(said)})
    messages.append({"role": "user", "content": draw(said)})
    ends = (
        draw(calling(9))[:1]
        if tools and method == "supervised" and draw(st.booleans())
        else [{"role": "assistant", "content": draw(said)}]
    )
    rejected = ()
    if method == "dpo":
        other = draw(said.filter(lambda text: text != ends[0]["content"]))
        rejected = ({"role": "assistant", "content": other},)
    return Example(
        messages=(*messages, *ends),
        source_id="",
        tools=(TOOL,) if tools else (),
        rejected=rejected,
    )


def shape(example: Example) -> dict[str, Any]:
    return {
        "messages": [canonical(message) for message in example.messages],
        "tools": list(example.tools),
        "rejected": list(example.rejected),
    }


def canonical(message: Any) -> dict[str, Any]:
    # Text that is not there and text that is empty are one thing to every reader.
    made = {key: value for key, value in message.items() if value not in (None, "")}
    if made.get("tool_calls"):
        made["tool_calls"] = [
            call | {"function": call["function"] | {
                "arguments": json.loads(call["function"]["arguments"])}}
            for call in made["tool_calls"]
        ]  # fmt: skip
    return made


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("method", ["supervised", "dpo"])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_row_comes_back_as_it_was_written(to: Any, method: Method, data: Any) -> None:
    example = data.draw(examples(method))
    row = json.loads(json.dumps(row_writer(to, method)(example)))
    assert shape(read_row(row, to, method)) == shape(example)


@pytest.mark.parametrize("to", ["openai", "trl"])
@settings(deadline=None, max_examples=30)
@given(example=examples())
def test_a_reinforcement_row_keeps_question_and_reference(to: Any, example: Example) -> None:
    row = row_writer(to, "reinforcement")(example)
    back = read_row(json.loads(json.dumps(row)), to, "reinforcement")
    assert shape(back)["messages"][:-1] == shape(example)["messages"][:-1]
    assert back.messages[-1]["content"] == row["reference"]


ASKS = Example(
    messages=(
        {"role": "system", "content": "S"},
        {"role": "user", "content": "q"},
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "track", "arguments": '{"id":7}'},
                }
            ],
        },
        {"role": "tool", "content": "on its way", "tool_call_id": "c1"},
        {"role": "assistant", "content": "a"},
    ),
    source_id="s",
    tools=(TOOL,),
)


def test_what_vertex_is_given() -> None:
    assert row_writer("vertex", "supervised")(ASKS) == {
        "systemInstruction": {"role": "system", "parts": [{"text": "S"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "q"}]},
            {
                "role": "model",
                "parts": [{"functionCall": {"id": "c1", "name": "track", "args": {"id": 7}}}],
            },
            {
                "role": "user",
                "parts": [
                    {
                        "functionResponse": {
                            "id": "c1",
                            "name": "track",
                            "response": {"output": "on its way"},
                        }
                    }
                ],
            },
            {"role": "model", "parts": [{"text": "a"}]},
        ],
        "tools": [{"functionDeclarations": [TOOL["function"]]}],
    }


def test_what_trl_is_given() -> None:
    row = row_writer("trl", "supervised")(ASKS)
    assert row["completion"] == [{"role": "assistant", "content": "a"}]
    assert row["prompt"][2]["tool_calls"][0]["function"]["arguments"] == {"id": 7}
    assert row["prompt"][2]["content"] == ""
    assert row["tools"] == [TOOL]


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        (({"role": "user", "content": "q"}, {"role": "system", "content": "s"}), "messages.1"),
        (({"role": "user", "content": "q", "name": "ann"},), "messages.0.name"),
    ],
)
def test_what_vertex_cannot_say_is_refused(messages: Any, field: str) -> None:
    answer = {"role": "assistant", "content": "a"}
    with pytest.raises(RowError) as caught:
        row_writer("vertex", "supervised")(Example(messages=(*messages, answer), source_id=""))
    assert caught.value.field == field
    with pytest.raises(RowError, match="supervised and preference"):
        row_writer("vertex", "reinforcement")(ASKS)


@pytest.mark.parametrize(
    ("of", "row"),
    [("vertex", {"contents": [{"parts": 3}]}), ("vertex", {}), ("trl", {"prompt": "text"})],
)
def test_malformed_rows_are_refused(of: Any, row: dict[str, Any]) -> None:
    for method in ("supervised", "dpo"):
        with pytest.raises(RowError):
            read_row(row, of, method)


SHARED = Path(__file__).resolve().parents[4] / "shared" / "datasets" / "fine-tuning-jsonl"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the example files of ../shared are not here")
@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("azure__dpo_orca_validation.jsonl", "dpo"),
        ("azure__stock_toolcall_training.jsonl", "supervised"),
        ("azure__zava_tooluse_sft_valid.jsonl", "supervised"),
    ],
)
def test_public_rows_come_back_from_every_format(to: Any, name: str, method: Method) -> None:
    rows = 0
    for line in (SHARED / name).read_text("utf-8").splitlines():
        example = read_row(json.loads(line), "openai", method)
        back = read_row(json.loads(json.dumps(row_writer(to, method)(example))), to, method)
        assert shape(back) == shape(example)
        rows += 1
    assert rows > 50


def rows(**changes: int) -> Rows:
    known: dict[str, Any] = {"path": "p", "sha256": "s", "rows": 100, "tokens": 1, "longest": 5}
    return Rows(**(known | {"bytes": 9} | changes))


@pytest.mark.parametrize(
    ("provider", "training", "validation", "fields"),
    [
        ("openai", {}, {}, []),
        ("openai", {"rows": 9}, {}, ["training"]),
        ("azure", {"bytes": 600_000_000}, {}, ["training"]),
        ("openai", {"bytes": 600_000_000}, {}, []),
        ("azure", {"longest": 70_000}, {"longest": 70_000}, ["training", "validation"]),
        ("vertex", {"longest": 70_000}, {"rows": 5_001}, ["validation"]),
        ("local", {"rows": 1, "bytes": 10**12}, {}, []),
    ],
)
def test_limits_of_files(provider: str, training: Any, validation: Any, fields: list[str]) -> None:
    found = check_rows(provider, rows(**training), rows(**validation))
    assert [problem.field for problem in found] == fields
    assert all(problem.fix for problem in found)
    assert set(LIMITS) == {"openai", "azure", "vertex", "local"}
