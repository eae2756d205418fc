"""What a plan costs and how long the quota makes it take, before anything is sent."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from math import ceil

from understudy.batch.plans import Plan
from understudy.engine import Engine
from understudy.model import Json, Usage

__all__ = ["PrecomputeEstimate", "estimate"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PrecomputeEstimate:
    """What to expect, in US dollars.

    ``waves`` is how often the enqueued-token quota must be filled; ``hours_at_most`` the time if
    every batch takes its whole window.
    """

    requests: int
    batches: int
    input_tokens: int
    expected: Decimal
    at_most: Decimal
    live: Decimal
    teacher: Decimal | None
    waves: int
    hours_at_most: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """As JSON; sums of money are decimal strings."""
        money = ("expected", "at_most", "live", "teacher")
        return {
            name: format(value, "f") if name in money and value is not None else value
            for name, value in asdict(self).items()
        }


def estimate(engine: Engine, plan: Plan) -> PrecomputeEstimate:
    """Estimate ``plan`` at today's prices.

    Raises:
        ConfigError: a price is not known.
    """
    recipe, planned = plan.recipe, plan.planned
    ask = recipe.ask
    likely = min(ask.expected_output_tokens or ask.max_output_tokens, ask.max_output_tokens)
    usual = Usage(input=planned.tokens, output=planned.asked * likely)
    longest = Usage(input=planned.tokens, output=planned.asked * ask.max_output_tokens)
    batch = plan.way.via == "batch"
    waves, hours = _time(plan)
    return PrecomputeEstimate(
        requests=planned.asked,
        batches=len(planned.shards) if batch else 0,
        input_tokens=planned.tokens,
        expected=_price(engine, plan.pinned.backend, plan.pinned.model, usual, batch=batch),
        at_most=_price(engine, plan.pinned.backend, plan.pinned.model, longest, batch=batch),
        live=_price(engine, plan.pinned.backend, plan.pinned.model, usual, batch=False),
        teacher=_teacher(engine, plan, usual),
        waves=waves,
        hours_at_most=hours,
        notes=tuple(_notes(plan, waves)),
    )


def _price(engine: Engine, backend: str, model: str, usage: Usage, *, batch: bool) -> Decimal:
    provider = engine.backends.capabilities(backend).price_book
    return engine.prices.inference_cost(provider, model, usage, batch=batch, at=engine.now())


def _teacher(engine: Engine, plan: Plan, usage: Usage) -> Decimal | None:
    compare = plan.recipe.compare
    if compare is None:
        return None
    backend = compare.backend or plan.pinned.backend
    return _price(engine, backend, compare.teacher, usage, batch=False)


def _time(plan: Plan) -> tuple[int, float]:
    """Waves through the enqueued-token quota and hours, or hours at the live rate."""
    limits, planned = plan.way.limits, plan.planned
    if plan.way.via == "live":
        rate = plan.recipe.batch.requests_per_minute
        return 0, planned.asked / rate / 60 if rate else 0.0
    waves = 1 if planned.shards else 0
    if limits.enqueued_tokens is not None and planned.shards:
        largest = max(shard.tokens for shard in planned.shards)
        together = max(limits.enqueued_tokens // largest, 1)
        waves = ceil(len(planned.shards) / together)
    if plan.recipe.batch.at_once is not None:
        waves = max(waves, ceil(len(planned.shards) / plan.recipe.batch.at_once))
    hours = waves * limits.window / 3600
    if limits.batches_per_hour:
        hours = max(hours, len(planned.shards) / limits.batches_per_hour)
    return waves, hours


def _notes(plan: Plan, waves: int) -> list[str]:
    found = []
    limits = plan.way.limits
    if plan.way.refusal:
        rate = plan.recipe.batch.requests_per_minute
        pace = f"at {rate:g} requests a minute" if rate else "once requests_per_minute is set"
        found.append(
            f'{plan.way.refusal} It can be asked live {pace}: say via = "live" in [batch] to '
            "accept the live price."
        )
    if plan.recipe.ask.expected_output_tokens is None:
        found.append(
            "expected is the bound: say expected_output_tokens in [ask] for a closer estimate"
        )
    if waves > 1 and limits.enqueued_tokens is not None:
        found.append(
            f"{limits.enqueued_tokens:,} prompt tokens may be enqueued at once, so the batches "
            f"take {waves} rounds of up to {limits.window / 3600:g} hours each"
        )
    if limits.source:
        found.append(f"batch limits: {limits.source}")
    return found
