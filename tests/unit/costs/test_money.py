"""Money: exact both ways, one rounding rule, and never a zero that is not one."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.costs.money import add, format_usd, from_nanos, per_million, times, to_nanos
from understudy.errors import DataError

NANOS = st.integers(min_value=-(10**18), max_value=10**18)


@given(NANOS)
def test_nanos_survive_the_way_to_dollars_and_back(nanos):
    assert to_nanos(from_nanos(nanos)) == nanos


@given(NANOS, st.integers(min_value=0, max_value=999))
def test_rounding_is_off_by_at_most_half_a_nano_and_up_never_below(nanos, thousandths):
    amount = add(from_nanos(nanos), Decimal(thousandths).scaleb(-12))
    assert abs(from_nanos(to_nanos(amount)) - amount) <= Decimal("5e-10")
    assert from_nanos(to_nanos(amount, up=True)) >= amount
    assert from_nanos(to_nanos(amount, up=True)) - amount < Decimal("1e-9")


def test_half_a_nano_is_rounded_away_from_zero():
    half = per_million(Decimal("0.0375"), 1)
    assert half == Decimal("37.5e-9")
    assert to_nanos(half) == 38
    assert to_nanos(-half) == -38
    assert to_nanos(per_million(Decimal("0.075"), 1)) == 75


@given(st.decimals(0, 1000, places=4), st.integers(min_value=0, max_value=10**15))
def test_prices_are_exact_whatever_precision_the_caller_set(price, tokens):
    exact = int(price.scaleb(4)) * tokens
    with localcontext() as context:
        context.prec = 3
        cost = per_million(price, tokens)
        doubled = times(cost, Decimal(2))
    assert int(cost.scaleb(10)) == exact
    assert int(doubled.scaleb(10)) == 2 * exact


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity", "9300000000", "1e400"])
def test_a_sum_that_the_ledger_cannot_hold_is_refused(amount):
    with pytest.raises(DataError, match="check the price"):
        to_nanos(Decimal(amount))


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("0.00000001", "<$0.0001"),
        ("0.0001", "$0.0001"),
        ("0.01234", "$0.0123"),
        ("0.99994", "$0.9999"),
        ("0.99996", "$1.00"),
        ("1234.5", "$1,234.50"),
        ("-2.5", "-$2.50"),
        ("-0.00001", "-<$0.0001"),
    ],
)
def test_dollars_for_people(amount, shown):
    assert format_usd(Decimal(amount)) == shown


def test_the_sum_of_nothing_is_zero():
    assert add() == 0
