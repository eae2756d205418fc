from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy_sandbox.billing import inference_usd, price_table, training_usd
from understudy_sandbox.tokens import chat_tokens, count, default_epochs, message_tokens

BASE = "gpt-4o-mini-2024-07-18"


def test_training_is_exact() -> None:
    assert training_usd(BASE, 26_694) == Decimal("0.080082")
    assert training_usd("gpt-4.1-2025-04-14", 1) == Decimal("0.000025")


@pytest.mark.parametrize(
    ("tuned", "batch", "usd"),
    [(False, False, "0.75"), (True, False, "1.5"), (True, True, "0.75"), (False, True, "0.375")],
)
def test_a_million_in_and_out(tuned, batch, usd) -> None:
    made = inference_usd(BASE, tuned=tuned, inputs=10**6, cached=0, outputs=10**6, batch=batch)
    assert made == Decimal(usd)


def test_cached_tokens_cost_half() -> None:
    made = inference_usd(BASE, tuned=False, inputs=10**6, cached=10**6, outputs=0)
    assert made == Decimal("0.075")


@given(st.lists(st.integers(0, 10**7), max_size=20))
def test_entries_add_up_exactly(counts) -> None:
    parts = sum((training_usd(BASE, n) for n in counts), Decimal(0))
    assert parts == training_usd(BASE, sum(counts))


def test_the_table_says_when_and_where_from() -> None:
    assert price_table()["date"] == "2026-11-22"
    assert "assumed" in price_table()["source"]


def test_every_answer_is_on_the_bill(sandbox, client) -> None:
    reply = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}]
    )
    (entry,) = [e for e in sandbox.bill()["entries"] if e["ref"] == reply.id]
    assert entry["input_tokens"] == reply.usage.prompt_tokens
    expected = inference_usd(
        BASE,
        tuned=False,
        inputs=reply.usage.prompt_tokens,
        cached=0,
        outputs=reply.usage.completion_tokens,
    )
    assert Decimal(entry["usd"]) == expected
    bill = sandbox.bill()
    assert Decimal(bill["total_usd"]) == sum(Decimal(e["usd"]) for e in bill["entries"])


@pytest.mark.parametrize(
    ("rows", "epochs"),
    [(1, 25), (10, 10), (33, 3), (34, 3), (8000, 3), (8334, 2), (25_001, 1), (10**6, 1)],
)
def test_default_epochs(rows, epochs) -> None:
    assert default_epochs(rows) == epochs


def test_tokens_of_a_message() -> None:
    plain = {"role": "user", "content": "hello world"}
    assert count("hello world") == 2
    assert message_tokens(plain) == 3 + 1 + 2
    assert message_tokens({**plain, "name": "ann"}) == 3 + 1 + 2 + count("ann") + 1
    assert chat_tokens([plain, plain]) == 2 * 6 + 3
