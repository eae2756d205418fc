"""Prices as frozen records: US dollars, with date, source and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from understudy.costs.money import add, per_million, times
from understudy.model import Usage

__all__ = ["HourPrice", "Price", "TokenPrice"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a price comes from.

    ``as_of`` is an ISO day, or the release of the package that holds it. ``confidence`` is
    ``listed`` (the provider's own list) or ``second-hand``.
    """

    as_of: str
    source: str
    confidence: str
    note: str = ""

    @property
    def told(self) -> str:
        """Date and source in words."""
        unsure = "" if self.confidence == "listed" else ", second-hand"
        return f"{self.source} ({self.as_of}{unsure})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Price(Origin):
    """Training: US dollars per million billed tokens."""

    usd_per_million: Decimal


@dataclass(frozen=True, kw_only=True, slots=True)
class HourPrice(Origin):
    """Hosting: US dollars per hour."""

    usd_per_hour: Decimal


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenPrice(Origin):
    """Inference: US dollars per million tokens, fresh and cached input, and output."""

    input: Decimal
    cached: Decimal
    output: Decimal

    def cost(self, usage: Usage) -> Decimal:
        """What ``usage`` costs, exactly. More cached than input tokens count as all cached."""
        cached = min(usage.cached, usage.input)
        return add(
            per_million(self.input, usage.input - cached),
            per_million(self.cached, cached),
            per_million(self.output, usage.output),
        )

    def scaled(self, factor: Decimal) -> TokenPrice:
        """The same price times ``factor``."""
        return replace(
            self,
            input=times(self.input, factor),
            cached=times(self.cached, factor),
            output=times(self.output, factor),
        )
