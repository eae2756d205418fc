"""The sandbox's own bill: exact decimals, one entry for everything that costs money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

import orjson

from understudy_sandbox.state import new_id

if TYPE_CHECKING:
    from understudy_sandbox.clock import Clock
    from understudy_sandbox.state import Doc, State

_MILLION = Decimal(1_000_000)
_NANO = Decimal("0.000000001")


@cache
def price_table() -> dict[str, Any]:
    """Prices with their date and source; dollars per million tokens as decimal strings."""
    table: dict[str, Any] = orjson.loads(
        files("understudy_sandbox").joinpath("prices.json").read_bytes()
    )
    return table


def training_usd(base: str, tokens: int, tier: str | None = None) -> Decimal:
    """Price of training on a number of billed tokens (epochs counted); ``tier`` is Azure's."""
    table = price_table()
    rate = table["azure"]["training"][tier][base] if tier else table["models"][base]["training"]
    return Decimal(rate) * tokens / _MILLION


def hosting_usd(base: str, tier: str, seconds: int) -> Decimal:
    """Price of a fine-tuned deployment on Azure: by the second, to the nano-dollar."""
    rates = price_table()["azure"]["hosting"][tier]
    hourly = Decimal(rates.get(base, rates["*"]))
    return (hourly * seconds / 3600).quantize(_NANO)


def inference_usd(
    base: str,
    *,
    tuned: bool,
    inputs: int,
    cached: int,
    outputs: int,
    batch: bool = False,
    tier: str | None = None,
) -> Decimal:
    """Price of answers. ``inputs`` counts the cached tokens too; ``tier`` is Azure's."""
    rates = price_table()["models"][base]["tuned" if tuned else "base"]
    if tier and tuned:
        rates = price_table()["azure"]["inference"][tier][base]
    fresh, kept, out = (Decimal(rate) for rate in rates)
    usd = (fresh * (inputs - cached) + kept * cached + out * outputs) / _MILLION
    return usd * Decimal(price_table()["batch_factor"]) if batch else usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """What the price of an answer depends on.

    Attributes:
        name: the model on the bill.
        base: the base model that prices it.
        tuned: whether it is a fine-tune.
        tier: Azure's tier, or None at OpenAI's prices.
    """

    name: str
    base: str
    tuned: bool
    tier: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosting:
    """A fine-tuned deployment that is paid by the hour.

    Attributes:
        ref: id of the deployment.
        model: the fine-tune on the bill.
        base: the base model that prices it.
        tier: Azure's tier.
        since: sandbox time (Unix seconds) from which it is billed.
        until: up to when.
    """

    ref: str
    model: str
    base: str
    tier: str
    since: float
    until: float


class Bill:
    """Append-only ledger of a sandbox."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._clock = clock

    def _entry(self, kind: str, ref: str, model: str, usd: Decimal, **counted: Any) -> Doc:
        counts = dict.fromkeys(
            ("input_tokens", "cached_tokens", "output_tokens", "trained_tokens"), 0
        )
        return {
            "id": new_id("bill_"),
            "at": int(self._clock.now()),
            "kind": kind,
            "ref": ref,
            "model": model,
            **counts,
            **counted,
            "usd": format(usd, "f"),
        }

    def training(self, job: Doc, tokens: int) -> None:
        """Bill a job for the tokens that it trained on."""
        usd = training_usd(job["base"], tokens, job["tier"])
        self._state.append_entry(
            self._entry("training", job["id"], job["base"], usd, trained_tokens=tokens)
        )

    def hosting(self, lease: Hosting) -> None:
        """Bill a deployment that has ended."""
        self._state.append_entry(self._hosted(lease))

    def _hosted(self, lease: Hosting) -> Doc:
        seconds = max(0, int(lease.until - lease.since))
        usd = hosting_usd(lease.base, lease.tier, seconds)
        return self._entry("hosting", lease.ref, lease.model, usd, seconds=seconds, tier=lease.tier)

    def inference(
        self,
        kind: Literal["inference", "batch"],
        ref: str,
        priced: Priced,
        *,
        inputs: int,
        outputs: int,
    ) -> None:
        """Bill a completion, or all the answers of one model in a batch at half price."""
        usd = inference_usd(
            priced.base,
            tuned=priced.tuned,
            inputs=inputs,
            cached=0,
            outputs=outputs,
            batch=kind == "batch",
            tier=priced.tier,
        )
        entry = self._entry(kind, ref, priced.name, usd, input_tokens=inputs, output_tokens=outputs)
        self._state.append_entry(entry)

    def shown(self, running: Sequence[Hosting] = ()) -> dict[str, Any]:
        """All entries and their exact total; what is hosted still is billed up to now."""
        accrued = [{**self._hosted(lease), "running": True} for lease in running]
        entries = self._state.entries() + accrued
        total = sum((Decimal(e["usd"]) for e in entries), Decimal(0))
        return {
            "entries": entries,
            "total_usd": format(total, "f"),
            "currency": "USD",
            "prices": {k: price_table()[k] for k in ("date", "source")},
            "azure_prices": {k: price_table()["azure"][k] for k in ("date", "source")},
            "note": "Made by the understudy sandbox on this machine; no provider charges it.",
        }
