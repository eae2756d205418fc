"""The estimate: expected never above at most, and both add up to the cent."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.costs.estimate import Asked, estimate_run
from understudy.costs.prices import PriceBook
from understudy.errors import ConfigError, DataError
from understudy.model import Estimate, Usage

BOOK = PriceBook.load()
BASE = "gpt-4o-mini-2024-07-18"
COUNT = st.integers(min_value=0, max_value=10**8)


def asked(subject="student", model=f"ft:{BASE}", **changes):
    given_ = {
        "rows": 200,
        "input_tokens": 20_000,
        "expected_output_tokens": 8_000,
        "max_output_tokens": 512,
    }
    return Asked(subject=subject, model=model, **(given_ | changes))


def run(training=None, questions=(), **more):
    training = training or Estimate(tokens=300_000, at_most=310_000, epochs=3, notes=("auto",))
    return estimate_run(
        BOOK, provider="openai", base_model=BASE, training=training, asked=questions, **more
    )


def test_a_run_by_hand():
    found = run(questions=[asked(), asked("base", BASE)])
    # 300,000 x 3.00; 20,000 x .30 + 8,000 x 1.20; 20,000 x .15 + 8,000 x .60, all a million.
    assert [line.expected for line in found.lines] == [
        Decimal("0.9"),
        Decimal("0.0156"),
        Decimal("0.0078"),
    ]
    # 310,000 x 3.00; 102,400 tokens of answers instead of 8,000.
    assert [line.at_most for line in found.lines] == [
        Decimal("0.93"),
        Decimal("0.12888"),
        Decimal("0.06444"),
    ]
    assert found.expected == Decimal("0.9234")
    assert found.at_most == Decimal("1.12332")
    assert found.lines[1].cells() == (
        "evaluation, student, 200 rows",
        f"ft:{BASE}",
        "28,000",
        "$0.30 in, $1.20 out a million",
        "$0.0156",
        "$0.1289",
    )
    assert found.lines[0].cells()[3:] == ("$3.00 a million", "$0.9000", "$0.9300")


def test_notes_say_where_prices_come_from_and_what_a_crash_adds():
    found = run(questions=[asked()])
    assert found.notes[0] == "auto"
    assert any("2026-11-22" in note and "second-hand" in note for note in found.notes)
    assert "paid again" in found.notes[-1]
    assert not any("paid again" in note for note in run().notes)


@given(
    tokens=COUNT, more=COUNT, rows=st.integers(0, 10_000), wanted=COUNT, bound=st.integers(0, 4096)
)
def test_expected_is_never_above_at_most_and_lines_add_up(tokens, more, rows, wanted, bound):
    found = run(
        Estimate(tokens=tokens, at_most=tokens + more, epochs=1),
        [asked(rows=rows, expected_output_tokens=wanted, max_output_tokens=bound)],
    )
    assert found.expected <= found.at_most
    assert found.expected == sum(line.expected for line in found.lines)
    assert found.at_most == sum(line.at_most for line in found.lines)
    assert found.at_most >= BOOK.inference_cost(
        "openai", f"ft:{BASE}:o::i", Usage(input=20_000, output=min(wanted, rows * bound))
    )


def test_json_keeps_money_as_decimal_strings():
    shown = run(questions=[asked()]).to_json()
    assert Decimal(shown["expected"]) == sum(Decimal(line["expected"]) for line in shown["lines"])
    assert shown["lines"][0]["tokens_at_most"] == 310_000
    assert isinstance(shown["at_most"], str)


@pytest.mark.parametrize(
    "training",
    [Estimate(tokens=-1, at_most=5, epochs=1), Estimate(tokens=6, at_most=5, epochs=1)],
)
def test_counts_that_cannot_be_are_refused(training):
    with pytest.raises(DataError, match="training tokens"):
        run(training)


@pytest.mark.parametrize(
    "name", ["rows", "input_tokens", "expected_output_tokens", "max_output_tokens"]
)
def test_negative_questions_are_refused(name):
    with pytest.raises(DataError, match="the questions to student"):
        run(questions=[asked(**{name: -1})])


def test_a_model_without_a_price_stops_the_estimate():
    with pytest.raises(ConfigError, match="gpt-99"):
        run(questions=[asked("present", "ft:gpt-99:o::i")])


def test_a_backend_that_knows_its_own_price_is_believed():
    training = Estimate(tokens=10, at_most=20, epochs=2, usd=Decimal("0.5"), usd_at_most=Decimal(2))
    line = estimate_run(PriceBook.load(), provider="nobody", base_model="x", training=training)
    assert (line.expected, line.at_most) == (Decimal("0.5"), Decimal(2))
    assert line.lines[0].price == "by the hour"


def test_a_bound_below_the_expected_sum_is_refused():
    training = Estimate(tokens=10, at_most=20, epochs=2, usd=Decimal(2), usd_at_most=Decimal(1))
    with pytest.raises(DataError, match="plugin's author"):
        estimate_run(PriceBook.load(), provider="nobody", base_model="x", training=training)
