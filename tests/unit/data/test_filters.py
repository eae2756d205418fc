"""Filters: what each drops, and what looks like it and stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data.filters import BUILTIN, choose_filters, make_filter
from understudy.errors import ConfigError
from understudy.hookspecs import FilterSpec
from understudy.model import Conversation, Drop
from understudy.recipe import FilterUse

LONG = (
    "Thank you for writing to us about the parcel. We have looked into it today. "
    "It left the warehouse on Monday and will reach you"
)


def row(answer: Any = "Yes, it is on its way to you.", **fields: Any) -> Conversation:
    asked = fields.pop("asked", "Where is my parcel, please?")
    messages = fields.pop("messages", None) or [{"role": "user", "content": asked}]
    told = answer if isinstance(answer, dict) else {"role": "assistant", "content": answer}
    return Conversation(messages=(*messages, told), turn=len(messages), source_id="talk", **fields)


def heard(use: str, given: Conversation, **options: Any) -> str | None:
    (chosen,) = choose_filters([FilterUse(use=use, **options)], {})
    word = make_filter(chosen).check(given)
    if isinstance(word, Drop):
        return word.reason or use
    assert word is None
    return None


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
TOOL_CALL = {"role": "assistant", "tool_calls": [CALL]}

DROPPED: dict[str, tuple[str, Conversation]] = {
    "length": ("truncated", row(finish_reason="length")),
    "json": ("truncated", row('{"category": "refund", "why": "the par')),
    "json list": ("truncated", row('[{"a": 1}, {"b"')),
    "fence": ("truncated", row('Here it is:\n```json\n{"a": 1}\n')),
    "sentence": ("truncated", row(LONG)),
    "comma": ("truncated", row(LONG + ",")),
    "sorry": ("refusal", row("I'm sorry, but I can't help with that.")),
    "curly": ("refusal", row("I\u2019m sorry, but I can\u2019t share this.")),
    "cannot": ("refusal", row("I cannot assist with that request.")),
    "as an ai": ("refusal", row("As an AI language model, I don't have opinions.")),
    "unable": ("refusal", row("Sorry, I am unable to do that.")),
    "german": ("refusal", row("Es tut mir leid, aber ich kann das nicht.")),
    "500": ("failed", row("Internal Server Error")),
    "trace": ("failed", row("Traceback (most recent call last):\n  File")),
    "error object": ("failed", row('{"error": {"code": 429}}')),
    "page": ("failed", row("<!DOCTYPE html><html>")),
    "two users": (
        "incomplete_turns",
        row(messages=[{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]),
    ),
    "dots": ("incomplete_turns", row("...")),
    "no user": ("incomplete_turns", row(messages=[{"role": "system", "content": "a"}])),
    "test": ("test_traffic", row(asked="Test")),
    "ignore": ("test_traffic", row(asked="this is a test message, please ignore")),
    "keyboard": ("test_traffic", row(asked="asdf asdf")),
    "filler": ("test_traffic", row(asked="Lorem ipsum dolor sit amet")),
    "staging": ("test_traffic", row(metadata={"environment": "staging"})),
    "flag": ("hallucination", row(flags=("hallucination",))),
    "score": ("hallucination", row(scores={"hallucination": 0.8})),
    "mail": ("personal_data", row(asked="Write to ann.lee@example.com")),
    "phone": ("personal_data", row("Call +44 20 7946 0018 for help.")),
    "bare phone": ("personal_data", row(asked="you can reach me at 4155552671")),
    "card": ("personal_data", row(asked="my card 4111 1111 1111 1111")),
    "iban": ("personal_data", row(asked="DE89 3704 0044 0532 0130 00")),
    "key": ("personal_data", row(asked="it is sk-proj-abc123def456ghi789jkl012mno")),
    "aws": ("personal_data", row(asked="use AKIAIOSFODNN7EXAMPLQ")),
    "password": ("personal_data", row(asked="password=hunter2hunter2")),
    "in a call": (
        "personal_data",
        row({"role": "assistant", "tool_calls": [
            {**CALL, "function": {"name": "f", "arguments": '{"to": "a.b@example.org"}'}}]}),
    ),
    "french": (
        "language",
        row("Bonjour, votre colis a \u00e9t\u00e9 exp\u00e9di\u00e9 hier et arrivera demain."),
    ),
    "not json": ("schema", row("no")),
    "other shape": ("schema", row('{"label": 3}')),
}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {
    "language": {"allow": ["en"]},
    "schema": {
        "json_schema": {
            "type": "object",
            "required": ["label"],
            "properties": {"label": {"type": "string"}},
        }
    },
}


@pytest.mark.parametrize("name", DROPPED)
def test_dropped(name: str) -> None:
    use, given = DROPPED[name]
    assert heard(use, given, **OPTIONS.get(use, {})) == use


KEPT: dict[str, tuple[str, Conversation]] = {
    "stop": ("truncated", row(LONG + ".", finish_reason="stop")),
    "quote": ("truncated", row(LONG + '."')),
    "list": ("truncated", row(LONG + ".\n- the first thing that you need\n- and the second one")),
    "name": ("truncated", row(LONG + ".\n\nKind regards,\nAnna Lee")),
    "short": ("truncated", row("on its way")),
    "link": ("truncated", row(LONG + ". Please read all of it at https://example.com/parcels")),
    "closed json": ("truncated", row('{"a": "{[", "b": [1]}')),
    "broken but closed": ("truncated", row("{'a': 1}")),
    "tool call": ("truncated", row(TOOL_CALL, finish_reason="tool_calls")),
    "sorry to hear": ("refusal", row("I'm sorry to hear that. I can help you with it.")),
    "cannot later": ("refusal", row("Your parcel is late. I cannot say when it arrives.")),
    "about errors": ("failed", row("The error 500 means that the server broke.")),
    "error field": ("failed", row('{"error": "late", "label": "a", "confidence": 0.5}')),
    "turns": (
        "incomplete_turns",
        row(messages=[
            {"role": "user", "content": "a"}, TOOL_CALL,
            {"role": "tool", "tool_call_id": "c", "content": ""}]),
    ),
    "about tests": ("test_traffic", row(asked="I want to test my new phone, is it here?")),
    "production": ("test_traffic", row(metadata={"environment": "production"})),
    "low": ("hallucination", row(scores={"hallucination": 0.2, "other": 0.9})),
    "order number": ("personal_data", row(asked="my order is 4155552671, call it late")),
    "date": ("personal_data", row(asked="on 2024-05-06 12:30:45 for $1,234,567.89")),
    "tracking": ("personal_data", row(asked="1Z999AA10123456784 or 4111 1111 1111 1112")),
    "version": ("personal_data", row(asked="it is 10.15.7.2019 or v1.2.3.4.5.6.7.8")),
    "at sign": ("personal_data", row(asked="meet @ noon, @ann")),
    "english": ("language", row("Hello, your parcel was sent yesterday and arrives tomorrow.")),
    "too short to say": ("language", row("Oui, merci.")),
    "fits": ("schema", row('{"label": "refund"}')),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_kept(name: str) -> None:
    use, given = KEPT[name]
    assert heard(use, given, **OPTIONS.get(use, {})) is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"least_tokens": 100}, "too_short"),
        ({"most_tokens": 10}, "too_long"),
        ({"least_answer_tokens": 20}, "too_short"),
        ({"most_answer_tokens": 3}, "too_long"),
        ({"most_words": 5}, "too_long"),
        ({"least_messages": 3}, "too_short"),
        ({"most_messages": 1}, "too_long"),
        ({"least_tokens": 5, "most_tokens": 100, "least_words": 5, "most_words": 50}, None),
    ],
)
def test_lengths(options: dict[str, int], reason: str | None) -> None:
    assert heard("length", row(), **options) == reason


def test_scores_have_two_sides() -> None:
    assert heard("score", row(scores={"a": 0.4}), name="a", least=0.5) == "low_score"
    assert heard("score", row(scores={"a": 0.9}), name="a", most=0.5) == "high_score"
    assert heard("score", row(scores={"b": 0.1}), name="a", least=0.5) is None
    assert heard("score", row(), name="a", least=0.5, missing="drop") == "unscored"
    assert heard("hallucination", row(scores={"faithful": 0.2}), score="faithful", least=0.5)


def test_a_schema_may_be_of_a_tool_and_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({"type": "object", "required": ["a"]}))
    assert heard("schema", row(TOOL_CALL), tool="f", file=str(path)) is None
    assert heard("schema", row(TOOL_CALL), tool="g", file=str(path)) == "schema"
    (chosen,) = choose_filters([FilterUse(use="schema", file=str(path))], {})
    assert chosen.options["json_schema"] == {"type": "object", "required": ["a"]}
    assert str(tmp_path) not in str(chosen.options)
    with pytest.raises(ConfigError, match="not a JSON schema"):
        choose_filters([FilterUse(use="schema", json_schema={"type": 7})], {})
    with pytest.raises(ConfigError, match="can be read"):
        choose_filters([FilterUse(use="schema", file=str(tmp_path / "no.json"))], {})


def redacted(given: Conversation, **options: Any) -> Conversation:
    (chosen,) = choose_filters([FilterUse(use="personal_data", action="redact", **options)], {})
    made = make_filter(chosen).check(given)
    assert isinstance(made, Conversation)
    return made


def test_personal_data_is_blotted_out_everywhere() -> None:
    call = {**CALL, "function": {"name": "f", "arguments": '{"phone": 4155552671, "n": [1]}'}}
    made = redacted(
        row(
            {"role": "assistant", "content": "Mailed a.b@example.org", "tool_calls": [call]},
            messages=[
                {"role": "system", "content": "Escalate to boss@example.com."},
                {"role": "user", "content": [{"type": "text", "text": "card 4111111111111111!"}]},
            ],
            reference="a.b@example.org",
        )
    )
    assert made.messages[0]["content"] == "Escalate to [email]."
    assert made.messages[1]["content"] == [{"type": "text", "text": "card [card]!"}]
    assert made.answer["content"] == "Mailed [email]"
    arguments = made.answer["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"phone": "[phone]", "n": [1]}
    assert made.reference == "[email]"


def test_kinds_of_personal_data_can_be_chosen() -> None:
    both = row(asked="a.b@example.org or +44 20 7946 0018")
    assert redacted(both, kinds=["phone"]).messages[0]["content"] == "a.b@example.org or [phone]"
    with pytest.raises(ConfigError, match="kinds"):
        redacted(both, kinds=["name"])


@settings(deadline=None, max_examples=60)
@given(
    before=st.text(max_size=30),
    after=st.text(max_size=30),
    secret=st.sampled_from(["ann.lee@example.com", "sk-proj-abcdefghij0123456789abcd"]),
)
def test_a_secret_never_survives_redaction(before: str, after: str, secret: str) -> None:
    made = redacted(row(asked=f"{before} {secret} {after}"))
    assert secret not in made.messages[0]["content"]


@settings(deadline=None, max_examples=40)
@given(text=st.text(max_size=200), use=st.sampled_from([spec.name for spec in BUILTIN]))
def test_no_text_breaks_a_filter(text: str, use: str) -> None:
    options: dict[str, Any] = OPTIONS | {"score": {"name": "a", "least": 0}}
    (chosen,) = choose_filters([FilterUse(use=use, **options.get(use, {}))], {})
    assert isinstance(make_filter(chosen).check(row(text, asked=text)), Drop | None)


class Shout:
    """A filter as a plugin brings it."""

    from understudy.backend import Params as Options

    def __init__(self, *, options: Any) -> None:
        del options

    def check(self, given: Conversation) -> Conversation | Drop | None:
        loud = str(given.answer["content"]).isupper()
        return Drop(message="it shouts", place="answer") if loud else None


def test_filters_of_plugins_are_counted_by_their_name(run: Any, monkeypatch: Any) -> None:
    import sys
    import types

    module = types.ModuleType("understudy_shout")
    module.Shout = Shout  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "understudy_shout", module)
    spec = FilterSpec(name="shout", target="understudy_shout:Shout", help="it shouts")
    from understudy.recipe import Cleaning

    rows = [
        {"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": a}]}
        for n, a in enumerate(["ok"] * 10 + ["NO", "NO"])
    ]
    made = run(rows, cleaning=Cleaning(filters=({"use": "shout"},)), filters={"shout": spec})
    assert made.rejected == {"shout": 2}
    assert made.config["filters"] == [{"use": "shout"}]


def test_rejected_rows_do_not_hold_what_they_were_rejected_for(run: Any) -> None:
    from understudy.recipe import Cleaning

    rows = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": "ok"}]}
        for q in [*(f"q{n}" for n in range(10)), "i am ann.lee@example.com"]
    ]
    made = run(rows, cleaning=Cleaning(filters=({"use": "personal_data"},)))
    assert made.rejected == {"personal_data": 1}
    for path in made.path.iterdir():
        assert b"ann.lee" not in path.read_bytes(), path.name
    kept = json.loads((made.path / "rejected.jsonl").read_text("utf-8"))
    assert kept["row"]["messages"][0]["content"] == "i am [email]"
