from __future__ import annotations

import json
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy_sandbox.demo.calls import calls
from understudy_sandbox.learner import get_learner
from understudy_sandbox.learner.base import Settings
from understudy_sandbox.learner.features import tokens_of
from understudy_sandbox.learner.forms import Writer, flat, nested
from understudy_sandbox.learner.rows import Answer, Prompt, Sample, sample_of
from understudy_sandbox.learner.spans import Copier, locate


def fit(pairs: Sequence[tuple[str, str]], epochs: int = 3, seed: int = 0, measures=None):
    rows = [Sample(prompt=Prompt(text=q), answer=Answer(content=a)) for q, a in pairs]
    noted = [] if measures is None else measures
    settings_ = Settings(epochs=epochs, seed=seed)
    return get_learner("default").fit(rows, rows[:20], settings_, noted.append)


def answers(model, *texts: str) -> list[str | None]:
    return [a.content for a in model.answer_many([Prompt(text=t) for t in texts])]


def test_labels_generalise_to_new_words_around_them() -> None:
    pairs = [
        (f"please {v} the {t} number {i}", v)
        for i in range(8)
        for v in ("open", "close", "lock")
        for t in ("door", "gate")
    ]
    assert answers(fit(pairs), "now lock that big window", "close it") == ["lock", "close"]


def test_whole_objects_never_seen_are_put_together() -> None:
    names = ["Ann", "Bob", "Cem", "Dia", "Eve", "Fay", "Gus", "Hal", "Ivy", "Jon"]
    pairs = [
        (f"{verb} {n.lower()} {k} coins", json.dumps({"do": do, "to": {"name": n}, "sum": k}))
        for i, n in enumerate(names)
        for verb, do in (("send", "pay"), ("ask", "request"))
        for k in (3 + i, 40 + i, 500 + i)
    ]
    (said,) = answers(fit(pairs), "ask zoe 77 coins")
    assert said == '{"do": "request", "to": {"name": "Zoe"}, "sum": 77}'


def test_fields_can_be_missing_null_lists_and_truths() -> None:
    def pair(items: list[str], *, fast: bool) -> tuple[str, str]:
        made = {"items": items, "fast": fast, "note": None}
        if len(items) > 1:
            made["many"] = True
        text = "buy " + " and ".join(items) + (" quickly" if fast else " whenever")
        return text, json.dumps(made, separators=(",", ":"))

    things = ["milk", "bread", "salt", "rice", "tea", "jam", "oats", "figs"]
    pairs = [pair([a], fast=f) for a in things for f in (True, False)]
    pairs += [pair([a, b], fast=f) for a in things for b in things if a < b for f in (True, False)]
    model = fit(pairs)
    assert answers(model, "buy nuts and kale quickly", "buy nuts whenever") == [
        '{"items":["nuts","kale"],"fast":true,"note":null,"many":true}',
        '{"items":["nuts"],"fast":false,"note":null}',
    ]


def test_free_text_comes_from_the_nearest_question() -> None:
    long = "This is what we say about {0}: it is a thing that people ask about, number {1}."
    topics = ["refunds", "parking", "opening hours", "vouchers", "gift cards", "repairs"]
    pairs = [(f"tell me of {t} please", long.format(t, i)) for i, t in enumerate(topics)]
    (said,) = answers(fit(pairs * 2), "parking ?")
    assert said == long.format("parking", 1)


def test_a_single_answer_needs_no_model() -> None:
    assert answers(fit([(f"q {i}", "ok") for i in range(10)]), "anything") == ["ok"]


def test_mixed_forms_are_told_apart() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "stop", "arguments": "{}"}}
    rows = [
        sample_of({"messages": [{"role": "user", "content": f"{w} {i}"}, answer]})
        for i in range(12)
        for w, answer in (
            ("halt now", {"role": "assistant", "tool_calls": [call]}),
            ("how are you", {"role": "assistant", "content": "fine"}),
        )
    ]
    model = get_learner("default").fit(rows, [], Settings(epochs=3, seed=0), lambda _: None)
    stop, fine = model.answer_many([Prompt(text="halt 99"), Prompt(text="how are you 99")])
    assert (stop.calls[0].name, stop.calls[0].arguments) == ("stop", "{}")
    assert (fine.content, fine.calls) == ("fine", ())


def test_the_context_counts() -> None:
    rows = [
        sample_of(
            {
                "messages": [
                    {"role": "user", "content": f"i want {thing}"},
                    {"role": "assistant", "content": f"sure {i}"},
                    {"role": "user", "content": "yes do it"},
                    {"role": "assistant", "content": label},
                ]
            }
        )
        for i in range(15)
        for thing, label in (("a flight", "fly"), ("a hotel", "stay"))
    ]
    model = get_learner("default").fit(rows, [], Settings(epochs=3, seed=0), lambda _: None)
    prompts = [Prompt(text="yes do it", context=f"i want {t}") for t in ("a flight", "a hotel")]
    assert [a.content for a in model.answer_many(prompts)] == ["fly", "stay"]


def test_the_same_seed_gives_the_same_model_and_losses_fall() -> None:
    pairs = [(c["messages"][-1]["content"], c["reference"]) for c in calls(2, 200)]
    one, two = [], []
    asked = [c["messages"][-1]["content"] for c in calls(4, 50)]
    assert answers(fit(pairs, measures=one), *asked) == answers(fit(pairs, measures=two), *asked)
    assert one == two
    assert one[0].train_loss > 3 * one[-1].train_loss
    assert one[-1].fraction == 1.0


def test_fewer_epochs_are_a_prefix_of_more() -> None:
    pairs = [(c["messages"][-1]["content"], c["reference"]) for c in calls(2, 80)]
    short, long = [], []
    fit(pairs, epochs=1, measures=short)
    fit(pairs, epochs=3, measures=long)
    assert [m.train_loss for m in short] == [m.train_loss for m in long[: len(short)]]


def test_the_demo_task_is_answered_where_a_lookup_fails() -> None:
    pairs = [(c["messages"][-1]["content"], c["reference"]) for c in calls(7, 900)]
    train, test = pairs[:650], pairs[650:]
    known, questions = {a for _, a in train}, {q for q, _ in train}
    unseen = [(q, a) for q, a in test if a not in known and q not in questions]
    said = answers(fit(train), *[q for q, _ in unseen])
    right = sum(s == a for s, (_, a) in zip(said, unseen, strict=True))
    assert len(unseen) > 150
    assert right / len(unseen) >= 0.60


def test_unknown_learners_are_named() -> None:
    with pytest.raises(KeyError, match="default"):
        get_learner("nothing:x")


words = st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=60)


@settings(max_examples=60, deadline=None)
@given(words, st.integers(0, 20), st.integers(1, 6))
def test_what_is_copied_is_located(text, start, width) -> None:
    tokens = tokens_of(text)
    chosen = tokens[start : start + width]
    if not chosen:
        assert locate("", tokens) is None
        return
    piece = text[chosen[0].start : chosen[-1].end]
    found = locate(piece, tokens)
    assert found is not None
    assert found[1] - found[0] == len(chosen)


leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just([]))
trees = st.recursive(
    leaves,
    lambda inner: st.dictionaries(st.text(max_size=4), inner, min_size=1, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), trees, max_size=4))
def test_flat_and_nested_are_inverse(value) -> None:
    assert nested(list(flat(value).items())) == value


@given(
    st.dictionaries(st.text(max_size=4), leaves, max_size=4),
    st.sampled_from([{"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}]),
)
def test_objects_are_written_as_in_training(value, style) -> None:
    text = json.dumps(value, **style)
    written = Writer([text]).text(value)
    assert written == text


def test_copied_values_keep_their_usual_form() -> None:
    copier = Copier([("zara", "ZARA"), ("acme", "ACME"), ("levi's", "Levi's")])
    assert copier.value("zara") == "ZARA"
    assert copier.value("hugo") == "HUGO"
    assert Copier([("50", 50), ("1,200", 1200)]).value("3,000") == 3000
    assert Copier([("50", 50)]).value("fifty") is None


@pytest.mark.parametrize("rows", [10, 300])
def test_small_jobs_are_fitted_quickly(rows) -> None:
    pairs = [(c["messages"][-1]["content"], c["reference"]) for c in calls(2, rows)]
    began = time.process_time()
    assert answers(fit(pairs), "track order red boots")[0]
    # Far above the usual half second: it holds an order of magnitude, not a machine.
    assert time.process_time() - began < 10


anything = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(anything, anything), min_size=1, max_size=12), anything)
def test_no_rows_break_the_learner(pairs, asked) -> None:
    (said,) = answers(fit(pairs, epochs=1), asked)
    assert isinstance(said, str)


def test_hostile_objects_are_survived() -> None:
    hostile = [
        '{"n": 123456789012345678901234567890, "s": "\\ud800", "l": [{"a": 1}, []]}',
        '{"n": 1e400, "s": "", "l": [], "deep": {"er": {}}}',
        '{"a": ' + "[" * 5000 + "]" * 5000 + "}",
    ]
    model = fit([(f"question {i % 3} is {i}", hostile[i % 3]) for i in range(12)])
    for said in answers(model, "question 0", "question 1", ""):
        assert said is not None
        assert said.encode()
