"""Prices of base models from genai-prices, imported on first use, read offline."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from understudy.costs.records import TokenPrice
from understudy.model import Usage

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation

__all__ = ["published_cost", "published_price"]

_ONE = Usage(input=1_000_000, output=1_000_000)


def published_cost(provider: str, model: str, usage: Usage, at: float | None) -> Decimal | None:
    """US dollars for one completion of a base model, exact; None where it is not known."""
    found = _calculate(provider, model, usage, at)
    return None if found is None else found.total_price


def published_price(provider: str, model: str, at: float | None) -> TokenPrice | None:
    """Price per million tokens of a base model; None where it is not known.

    Where a price rises with the length of the prompt, the highest is given.
    """
    found = _calculate(provider, model, _ONE, at)
    if found is None:
        return None
    prices = found.model_price
    fresh = _highest(prices.input_mtok)
    return TokenPrice(
        input=fresh,
        cached=_highest(prices.cache_read_mtok, fresh),
        output=_highest(prices.output_mtok),
        as_of=f"release {_release()}",
        source="genai-prices",
        confidence="listed",
    )


def _calculate(
    provider: str, model: str, usage: Usage, at: float | None
) -> PriceCalculation | None:
    import genai_prices

    if provider not in _providers():
        return None
    try:
        return genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=usage.input,
                # The package refuses more cached than input tokens; providers have sent that.
                cache_read_tokens=min(usage.cached, usage.input),
                output_tokens=usage.output,
            ),
            model,
            provider_id=provider,
            genai_request_timestamp=None if at is None else datetime.fromtimestamp(at, UTC),
        )
    except LookupError:
        return None


def _highest(price: Any, absent: Decimal = Decimal(0)) -> Decimal:
    if price is None:
        return absent
    if isinstance(price, Decimal):
        return price
    highest: Decimal = max(price.base, *(tier.price for tier in price.tiers))
    return highest


@lru_cache(maxsize=1)
def _release() -> str:
    return version("genai-prices")


@lru_cache(maxsize=1)
def _providers() -> frozenset[str]:
    from genai_prices.data import providers

    return frozenset(provider.id for provider in providers)
