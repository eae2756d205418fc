from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from understudy.costs.compare import Calls, compare_tiers
from understudy.costs.prices import PriceBook
from understudy.data.teachers import main_teacher
from understudy.errors import ConfigError
from understudy.model import Usage

ONE_CALL = Calls(rows=1, tokens=Usage(input=1000, output=500), a_day=10_000)


def test_the_voice_platform_of_the_issue():
    found = compare_tiers(
        PriceBook.load(),
        provider="azure",
        base_model="gpt-4.1-mini",
        trained_tokens=150_000_000,
        calls=ONE_CALL,
        teacher="gpt-4.1",
    )
    tiers = {tier.tier: tier for tier in found.tiers}
    assert set(tiers) == {"developer", "global", "datazone", "regional"}
    assert tiers["global"].training == Decimal(750)
    assert tiers["developer"].training == Decimal(375)
    assert tiers["regional"].training == Decimal(990)
    # 1,000 calls: 1M in at 0.40 and 0.5M out at 1.60.
    assert tiers["global"].a_thousand == Decimal("1.2")
    assert found.teacher_thousand == Decimal(6)
    assert tiers["global"].day == Decimal("1.7") * 24 + 12
    # 40.80 a day over 0.0048 saved a call.
    assert tiers["global"].break_even == 8500
    assert tiers["developer"].break_even == 0
    assert any("24 hours" in note for note in tiers["developer"].notes)
    assert all("(" in source for source in found.sources)


def test_a_student_that_answers_dearer_than_its_teacher_never_pays():
    found = compare_tiers(
        PriceBook.load(),
        provider="azure",
        base_model="gpt-4.1",
        trained_tokens=1_000_000,
        calls=ONE_CALL,
        teacher="gpt-4.1-nano",
    )
    assert {tier.break_even for tier in found.tiers} == {None}


def test_an_unknown_teacher_is_an_error_and_none_leaves_the_break_even_open():
    wanted = {
        "provider": "azure",
        "base_model": "gpt-4.1-mini",
        "trained_tokens": 1,
        "calls": ONE_CALL,
    }
    with pytest.raises(ConfigError, match="no price is known"):
        compare_tiers(PriceBook.load(), teacher="no-such-model", **wanted)
    found = compare_tiers(PriceBook.load(), **wanted)
    assert found.teacher_thousand is None
    assert found.to_json()["tiers"][0]["break_even"] is None


def test_no_price_at_all_says_which_row_to_add():
    with pytest.raises(ConfigError, match="hosting"):
        compare_tiers(
            PriceBook.load(),
            provider="nobody",
            base_model="m",
            trained_tokens=1,
            calls=ONE_CALL,
        )


def test_the_teacher_is_the_most_frequent_model_of_the_log(tmp_path: Path):
    path = tmp_path / "calls.jsonl"
    path.write_text('{"model": "a"}\n{"model": "b"}\n[1]\nnot json\n{"model": "b"}\n{"x": 1}\n')
    assert main_teacher(path) == "b"
    path.write_text('{"model": "b"}\n{"model": "a"}\n')
    assert main_teacher(path) == "a"
    path.write_text('{"x": 1}\n')
    assert main_teacher(path) is None
