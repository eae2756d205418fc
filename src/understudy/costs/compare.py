"""The tiers of a provider beside each other: training, hosting, answers, and when it pays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, Decimal
from typing import TypeVar

from understudy.costs.money import per_million
from understudy.costs.prices import PriceBook
from understudy.costs.records import HourPrice, Price, TokenPrice
from understudy.errors import ConfigError
from understudy.model import Json, Usage

__all__ = ["Calls", "Comparison", "TierCost", "compare_tiers"]

_HOURS = Decimal(24)
P = TypeVar("P", Price, HourPrice, TokenPrice)


@dataclass(frozen=True, kw_only=True, slots=True)
class Calls:
    """What is asked: ``tokens`` of ``rows`` calls together, and how many come ``a_day``."""

    rows: int
    tokens: Usage
    a_day: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TierCost:
    """One tier in US dollars; None where no price is known.

    ``training`` is of the whole run, ``a_thousand`` of a thousand calls, ``day`` of hosting and
    answers at the given traffic. ``break_even`` is the traffic, in calls a day, from which the
    hosted student costs less than its teacher; None where it never does, or the teacher's price
    is not known.
    """

    tier: str
    training: Decimal | None
    hourly: Decimal | None
    a_thousand: Decimal | None
    day: Decimal | None
    break_even: int | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """All tiers. ``teacher_thousand`` is what a thousand calls cost at the teacher."""

    base_model: str
    teacher: str | None
    teacher_thousand: Decimal | None
    calls: Calls
    tiers: tuple[TierCost, ...]
    sources: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """The comparison as JSON; money as decimal strings."""
        return {
            "base_model": self.base_model,
            "teacher": self.teacher,
            "teacher_thousand": _text(self.teacher_thousand),
            "calls": asdict(self.calls),
            "tiers": [{n: _text(v) for n, v in asdict(tier).items()} for tier in self.tiers],
            "sources": list(self.sources),
        }


def _text(value: Json) -> Json:
    return format(value.normalize(), "f") if isinstance(value, Decimal) else value


def compare_tiers(
    book: PriceBook,
    *,
    provider: str,
    base_model: str,
    trained_tokens: int,
    calls: Calls,
    teacher: str | None = None,
    at: float | None = None,
) -> Comparison:
    """Compare the tiers in which a provider trains or hosts fine-tunes of a model.

    Args:
        book: the prices.
        provider: as ``Capabilities.price_book`` names it.
        base_model: the student's base model.
        trained_tokens: billed tokens of the training, epochs counted in.
        calls: the traffic.
        teacher: the model that the student takes over from.
        at: seconds since the epoch, for prices that changed; now if absent.

    Raises:
        ConfigError: no tier of that model has a price, or the teacher has none.
    """
    sources: dict[str, None] = {}
    of_teacher = None
    if teacher is not None:
        price = book.inference_price(provider, teacher, at=at)
        sources[f"{teacher}: {price.told}"] = None
        of_teacher = _thousand(price.cost(calls.tokens), calls)
    asked = _Question(book, provider, base_model, trained_tokens, calls, of_teacher, at)
    tiers = tuple(asked.tier(tier, sources) for tier in book.tiers_of(provider, base_model))
    if not tiers:
        book.hosting_price(provider, base_model)  # raises, and says which row to add where
    return Comparison(
        base_model=base_model,
        teacher=teacher,
        teacher_thousand=of_teacher,
        calls=calls,
        tiers=tiers,
        sources=tuple(sources),
    )


def _thousand(cost: Decimal, calls: Calls) -> Decimal:
    return cost * 1000 / Decimal(max(calls.rows, 1))


@dataclass(frozen=True, slots=True)
class _Question:
    book: PriceBook
    provider: str
    base_model: str
    trained: int
    calls: Calls
    teacher: Decimal | None
    at: float | None

    def tier(self, tier: str, sources: dict[str, None]) -> TierCost:
        """All that is known of one tier; ``sources`` grows with the prices that were used."""
        book, place = self.book, (self.provider, self.base_model)
        training = _known(lambda: book.training_price(*place, tier))
        hosting = _known(lambda: book.hosting_price(*place, tier))
        student = f"ft:{self.base_model}"
        answers = _known(lambda: book.inference_price(place[0], student, tier=tier, at=self.at))
        notes = []
        for what, price in (("training", training), ("hosting", hosting), ("answers", answers)):
            if price is not None:
                sources[f"{what}: {price.told}"] = None
                notes += [f"{what}: {price.note}"] if price.note else []
        hourly = None if hosting is None else hosting.usd_per_hour
        thousand = (
            None if answers is None else _thousand(answers.cost(self.calls.tokens), self.calls)
        )
        return TierCost(
            tier=tier,
            training=None
            if training is None
            else per_million(training.usd_per_million, self.trained),
            hourly=hourly,
            a_thousand=thousand,
            day=self._day(hourly, thousand),
            break_even=self._break_even(hourly, thousand),
            notes=tuple(notes),
        )

    def _day(self, hourly: Decimal | None, thousand: Decimal | None) -> Decimal | None:
        if hourly is None or thousand is None or self.calls.a_day is None:
            return None
        return hourly * _HOURS + thousand * self.calls.a_day / 1000

    def _break_even(self, hourly: Decimal | None, thousand: Decimal | None) -> int | None:
        if hourly is None or thousand is None or self.teacher is None:
            return None
        saved = (self.teacher - thousand) / 1000
        if saved <= 0:
            return None
        return int((hourly * _HOURS / saved).to_integral_value(ROUND_CEILING))


def _known(price: Callable[[], P]) -> P | None:
    try:
        return price()
    except ConfigError:
        return None
