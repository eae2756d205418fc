"""Money as exact decimals and as whole nano-dollars.

Prices per million tokens with up to three decimals are whole nanos a token ($0.075 per million
is 75). Finer sums exist all the same: half of it in a batch is 37.5. So sums are added up as
``Decimal`` first, and one amount is turned into nanos once, at the end.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation

from understudy.errors import DataError

__all__ = ["NANOS", "add", "format_usd", "from_nanos", "per_million", "times", "to_nanos"]

NANOS = 1_000_000_000
"""Nano-dollars in a dollar."""

# Own contexts: the caller's thread may have set a precision that would round money.
_EXACT = Context(prec=100, traps=[InvalidOperation, Inexact])
_WHOLE = Context(prec=100, traps=[InvalidOperation])
_LARGEST = (1 << 63) - 1


def to_nanos(amount: Decimal, *, up: bool = False) -> int:
    """US dollars as whole nano-dollars.

    A sum finer than a nano is rounded half away from zero, so it is off by at most half a nano;
    with ``up`` it is rounded to the next higher one, as a reservation must be.

    Raises:
        DataError: not a finite number, or beyond a 64-bit column (9.2 billion dollars).
    """
    if not amount.is_finite():
        raise DataError(f"{amount} is not a sum of money; check the price and the token counts")
    if abs(amount) > _LARGEST // NANOS:
        raise DataError(
            f"${amount:.3g} is more than the ledger can hold (9.2 billion dollars); check the "
            "price and the token counts"
        )
    rounding = ROUND_CEILING if up else ROUND_HALF_UP
    return int(amount.scaleb(9, _WHOLE).to_integral_value(rounding=rounding, context=_WHOLE))


def from_nanos(nanos: int) -> Decimal:
    """Nano-dollars as US dollars, exactly."""
    return Decimal(nanos).scaleb(-9, _EXACT)


def per_million(price: Decimal, tokens: int) -> Decimal:
    """What ``tokens`` cost at ``price`` per million, exactly."""
    return _EXACT.multiply(price, Decimal(tokens)).scaleb(-6, _EXACT)


def times(amount: Decimal, factor: Decimal) -> Decimal:
    """``amount`` times ``factor``, exactly."""
    return _EXACT.multiply(amount, factor)


def add(*amounts: Decimal) -> Decimal:
    """The exact sum; zero for none."""
    total = Decimal(0)
    for amount in amounts:
        total = _EXACT.add(total, amount)
    return total


def format_usd(amount: Decimal) -> str:
    """Dollars for people: cents from one dollar on, hundredths of a cent below.

    What is not zero never reads as zero: ``<$0.0001``.
    """
    if amount == 0:
        return "$0.00"
    sign, size = ("-", -amount) if amount < 0 else ("", amount)
    if size < Decimal("0.0001"):
        return f"{sign}<$0.0001"
    return f"{sign}${size:,.2f}" if size >= Decimal("0.99995") else f"{sign}${size:.4f}"
