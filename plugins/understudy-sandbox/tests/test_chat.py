from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import openai
import pytest

ASK = [{"role": "user", "content": "Black boots by Zanix Works under $455 near Marport"}]


def test_a_fine_tune_answers_what_it_never_saw(client, trained) -> None:
    reply = client.chat.completions.create(model=trained.fine_tuned_model, messages=ASK)
    choice = reply.choices[0]
    assert json.loads(choice.message.content) == {
        "intent": "buy",
        "category": "shoes",
        "brand": "Zanix Works",
        "color": "black",
        "max_price": 455,
        "city": "Marport",
    }
    assert choice.finish_reason == "stop"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_the_same_question_has_the_same_answer(client, trained) -> None:
    said = {
        client.chat.completions.create(model=m, messages=ASK, temperature=1.0)
        .choices[0]
        .message.content
        for m in (trained.fine_tuned_model,) * 2
    }
    assert len(said) == 1


def test_a_base_model_knows_nothing_of_the_task(client) -> None:
    reply = client.chat.completions.create(model="gpt-4o-mini", messages=ASK)
    assert reply.model == "gpt-4o-mini-2024-07-18"
    assert "{" not in reply.choices[0].message.content


def test_json_mode_of_a_base_model_is_json(client) -> None:
    reply = client.chat.completions.create(
        model="gpt-4.1",
        messages=[{"role": "user", "content": 'say "hi"'}],
        response_format={"type": "json_object"},
    )
    assert isinstance(json.loads(reply.choices[0].message.content), dict)


def test_streams_say_the_same_and_count(client, trained) -> None:
    plain = client.chat.completions.create(model=trained.fine_tuned_model, messages=ASK)
    chunks = list(
        client.chat.completions.create(
            model=trained.fine_tuned_model,
            messages=ASK,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == plain.choices[0].message.content
    assert chunks[-1].usage == plain.usage
    assert chunks[-2].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_answers_stop_at_the_token_limit(client, trained, field) -> None:
    reply = client.chat.completions.create(
        model=trained.fine_tuned_model, messages=ASK, **{field: 5}
    )
    assert reply.choices[0].finish_reason == "length"
    assert 0 < reply.usage.completion_tokens <= 5


def test_stop_sequences_cut(client, trained) -> None:
    reply = client.chat.completions.create(
        model=trained.fine_tuned_model, messages=ASK, stop=["category"]
    )
    assert reply.choices[0].message.content == '{"intent": "buy", "'


@pytest.mark.parametrize(
    "change",
    [
        {"messages": []},
        {"n": 2},
        {"temperature": 3},
        {"extra_body": {"colour": 1}},
        {"messages": [{"role": "robot", "content": "x"}]},
    ],
)
def test_bad_requests_are_400(client, change) -> None:
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(**{"model": "gpt-4o-mini", "messages": ASK, **change})


def test_unknown_models_are_404(client) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-none", messages=ASK)
    assert missing.value.code == "model_not_found"


def test_tool_calls_are_learned(client, upload, finish) -> None:
    def asked(city: str, days: int) -> list[dict]:
        return [{"role": "user", "content": f"weather in {city} for {days} days"}]

    tool = {"type": "function", "function": {"name": "forecast", "parameters": {}}}
    rows = [
        {
            "messages": [
                *asked(city, days),
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "c1",
                            "type": "function",
                            "function": {
                                "name": "forecast",
                                "arguments": json.dumps({"city": city, "days": days}),
                            },
                        }
                    ],
                },
            ],
            "tools": [tool],
        }
        for city in ("Paris", "Rome", "Oslo", "Bonn", "Kyiv", "Lima")
        for days in (1, 2, 3, 5)
    ]
    job = finish(
        client.fine_tuning.jobs.create(
            model="gpt-4.1-mini-2025-04-14", training_file=upload(rows).id
        )
    )
    reply = client.chat.completions.create(
        model=job.fine_tuned_model, messages=asked("Quito", 4), tools=[tool]
    )
    call = reply.choices[0].message.tool_calls[0]
    assert reply.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "forecast"
    assert json.loads(call.function.arguments) == {"city": "Quito", "days": 4}


def test_models_say_who_owns_them_and_when_they_shut_down(sandbox, client, trained) -> None:
    models = {m.id: m for m in client.models.list()}
    assert trained.fine_tuned_model in models
    today = datetime.fromtimestamp(sandbox.now(), UTC)
    for model in models.values():
        assert model.owned_by == "understudy-sandbox"
        left = datetime.fromisoformat(model.shutdown_date).replace(tzinfo=UTC) - today
        assert left > timedelta(days=300)
