"""OpenTelemetry GenAI spans and stored completions become rows."""

from __future__ import annotations

import json
from typing import Any

import pytest

TOOLS = [
    {"type": "function", "name": "track", "description": "d", "parameters": {"type": "object"}}
]
ASKED = [
    {"role": "user", "parts": [{"type": "text", "content": "Where is it?"}]},
    {
        "role": "assistant",
        "parts": [
            {"type": "reasoning", "content": "hm"},
            {"type": "tool_call", "id": "c1", "name": "track", "arguments": {"id": 7}},
        ],
    },
    {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": {"at": 1}}]},
]
ANSWER = [
    {"role": "assistant", "parts": [{"type": "text", "content": "Here."}], "finish_reason": "stop"}
]
CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Where is it?"},
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
    {"role": "tool", "content": '{"at":1}', "tool_call_id": "c1"},
    {"role": "assistant", "content": "Here."},
]


def value(given: Any) -> dict[str, Any]:
    if isinstance(given, bool):
        return {"boolValue": given}
    if isinstance(given, int):
        return {"intValue": str(given)}
    if isinstance(given, float):
        return {"doubleValue": given}
    if isinstance(given, list):
        return {"arrayValue": {"values": [value(item) for item in given]}}
    if isinstance(given, dict):
        return {"kvlistValue": {"values": attributes(given)}}
    return {"stringValue": given}


def attributes(given: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value(item)} for key, item in given.items()]


def span(number: int, said: dict[str, Any], events: Any = (), **fields: Any) -> dict[str, Any]:
    return {
        "traceId": f"trace{number}",
        "spanId": f"span{number}",
        "startTimeUnixNano": "1700000000000000000",
        "attributes": attributes(said),
        "events": [{"name": name, "attributes": attributes(about)} for name, about in events],
        **fields,
    }


def export(*spans: dict[str, Any], **resource: Any) -> dict[str, Any]:
    about = {"attributes": attributes(resource)}
    return {"resourceSpans": [{"resource": about, "scopeSpans": [{"spans": list(spans)}]}]}


def newest(number: int) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4.1",
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "Be kind."}]),
        "gen_ai.input.messages": json.dumps([{**ASKED[0], "number": number}, *ASKED[1:]]),
        "gen_ai.output.messages": json.dumps(ANSWER),
        "gen_ai.tool.definitions": json.dumps(TOOLS),
    }


def structured(number: int) -> dict[str, Any]:
    return {
        "gen_ai.system_instructions": [{"type": "text", "content": "Be kind."}],
        "gen_ai.input.messages": ASKED,
        "gen_ai.output.messages": ANSWER,
    }


CALL = {"id": "c1", "type": "function", "function": {"name": "track", "arguments": '{"id":7}'}}
EVENTS = [
    ("gen_ai.system.message", {"content": "Be kind."}),
    ("gen_ai.user.message", {"content": "Where is it?"}),
    ("gen_ai.assistant.message", {"tool_calls": json.dumps([CALL])}),
    ("gen_ai.tool.message", {"content": '{"at":1}', "id": "c1"}),
    (
        "gen_ai.choice",
        {"index": 0, "message": json.dumps({"content": "Here."}), "finish_reason": "stop"},
    ),
]
NUMBERED = {
    "gen_ai.prompt.0.role": "system",
    "gen_ai.prompt.0.content": "Be kind.",
    "gen_ai.prompt.1.role": "user",
    "gen_ai.prompt.1.content": "Where is it?",
    "gen_ai.prompt.2.role": "assistant",
    "gen_ai.prompt.2.tool_calls.0.id": "c1",
    "gen_ai.prompt.2.tool_calls.0.name": "track",
    "gen_ai.prompt.2.tool_calls.0.arguments": '{"id":7}',
    "gen_ai.prompt.3.role": "tool",
    "gen_ai.prompt.3.tool_call_id": "c1",
    "gen_ai.prompt.3.content": '{"at":1}',
    "gen_ai.completion.0.content": "Here.",
    "gen_ai.completion.0.finish_reason": "stop",
}


def rows_of(made: Any, name: str = "train") -> list[dict[str, Any]]:
    return [json.loads(line) for line in made.file(name).read_text("utf-8").splitlines()]


def rejected(made: Any) -> list[dict[str, Any]]:
    lines = (made.path / "rejected.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    "make",
    [
        lambda n: span(n, newest(n)),
        lambda n: span(n, structured(n)),
        lambda n: span(
            n,
            {"gen_ai.operation.name": "chat"},
            [("gen_ai.client.inference.operation.details", newest(n))],
        ),
        lambda n: span(n, {"gen_ai.system": "openai"}, EVENTS),
        lambda n: span(n, NUMBERED),
    ],
    ids=["attributes", "structured", "details event", "events", "numbered"],
)
def test_each_generation_of_the_conventions_gives_the_same_row(run: Any, make: Any) -> None:
    from understudy.recipe import Cleaning

    made = run([export(make(n)) for n in range(10)], kind="otel", cleaning=Cleaning(drop=()))
    assert made.dropped == 0
    assert [row["messages"] for row in rows_of(made)] == [CHAT] * 10


def test_tools_scores_and_environment_of_a_span_are_kept(run: Any) -> None:
    from understudy.recipe import Cleaning

    score = {"gen_ai.evaluation.name": "helpful", "gen_ai.evaluation.score.value": 0.2}
    good = [export(span(n, newest(n))) for n in range(10)]
    bad = span(10, newest(10), [("gen_ai.evaluation.result", score)])
    staged = export(span(11, newest(11)), **{"deployment.environment.name": "staging"})
    made = run(
        [*good, export(bad), staged],
        kind="otel",
        cleaning=Cleaning(drop=(), min_score={"helpful": 0.5}, filters=({"use": "test_traffic"},)),
    )
    assert rows_of(made)[0]["tools"] == [
        {
            "type": "function",
            "function": {"name": "track", "description": "d", "parameters": {"type": "object"}},
        }
    ]
    assert [(row["line"], row["reason"]) for row in rejected(made)] == [
        (11, "low_score"),
        (12, "test_traffic"),
    ]


def test_spans_that_are_no_call_or_broken_are_told_apart(run: Any) -> None:
    good = [export(span(n, newest(n) | {"gen_ai.conversation.id": f"t{n}"})) for n in range(10)]
    for number, line in enumerate(good):
        messages = json.dumps(
            [{"role": "user", "parts": [{"type": "text", "content": f"q{number}"}]}]
        )
        inner = line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
        inner["attributes"] += attributes({"gen_ai.input.messages": messages})
    made = run(
        [
            *good,
            export(
                span(20, {"http.method": "GET"}), span(21, {"gen_ai.operation.name": "embeddings"})
            ),
            export(span(22, newest(22) | {"gen_ai.input.messages": '[{"role": "us'})),
            export(span(23, {"gen_ai.operation.name": "chat"})),
            export(span(24, newest(24), status={"code": 2, "message": "boom"})),
            {"spans": []},
            export(span(25, newest(25) | {"gen_ai.input.messages": "[[1]]"})),
        ],
        kind="otel",
    )
    assert made.kept == 10
    assert made.blank == 1
    assert [(row["line"], row["reason"], row["field"]) for row in rejected(made)] == [
        (12, "bad_trace", "gen_ai.input.messages"),
        (13, "bad_trace", "gen_ai.input.messages"),
        (14, "error", "error"),
        (15, "bad_trace", "resourceSpans"),
        (16, "bad_trace", "gen_ai.input.messages"),
    ]
    assert "cut off" in rejected(made)[0]["message"]


def completion(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "gpt-4.1",
        "metadata": {"conversation_id": f"t{number}"},
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": f"answer {number}", "refusal": None},
                "finish_reason": "stop",
            }
        ],
        **fields,
    }


def test_stored_completions_are_read_in_each_of_their_forms(run: Any) -> None:
    asked = [{"role": "user", "content": "question"}]
    listed = {"object": "list", "data": [{"id": "m-0", "content_parts": None, **asked[0]}]}
    rows = [completion(n, messages=asked) for n in range(7)]
    rows += [
        completion(7, messages=listed),
        completion(8, input=asked),
        completion(9, request={"messages": asked, "tools": []}),
        {"input": {"messages": asked}, "output": completion(10)},
    ]
    made = run(rows, kind="stored")
    assert made.dropped == 0
    written = rows_of(made)
    assert [row["messages"][0] for row in written] == asked * 11
    assert [row["messages"][1]["content"] for row in written] == [f"answer {n}" for n in range(11)]


def test_a_stored_completion_without_messages_says_what_to_do(run: Any) -> None:
    good = [completion(n, messages=[{"role": "user", "content": "q"}]) for n in range(10)]
    made = run([*good, completion(11), {"a": 1}, completion(12, choices=[])], kind="stored")
    found = rejected(made)
    assert [(row["line"], row["field"]) for row in found] == [
        (11, "messages"),
        (12, "id"),
        (13, "choices"),
    ]
    assert "export each completion's messages" in found[0]["message"]
    assert found[1]["row"] == {"a": 1}
