"""The sandbox's own bill: exact decimals, one entry for everything that costs money."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

import orjson

from understudy_sandbox.state import new_id

if TYPE_CHECKING:
    from understudy_sandbox.clock import Clock
    from understudy_sandbox.state import State

_MILLION = Decimal(1_000_000)


@cache
def price_table() -> dict[str, Any]:
    """Prices with their date and source; dollars per million tokens as decimal strings."""
    table: dict[str, Any] = orjson.loads(
        files("understudy_sandbox").joinpath("prices.json").read_bytes()
    )
    return table


def training_usd(base: str, tokens: int) -> Decimal:
    """Price of training on a number of billed tokens (epochs counted)."""
    return Decimal(price_table()["models"][base]["training"]) * tokens / _MILLION


def inference_usd(
    base: str, *, tuned: bool, inputs: int, cached: int, outputs: int, batch: bool = False
) -> Decimal:
    """Price of answers. ``inputs`` counts the cached tokens too."""
    rates = price_table()["models"][base]["tuned" if tuned else "base"]
    fresh, kept, out = (Decimal(rate) for rate in rates)
    usd = (fresh * (inputs - cached) + kept * cached + out * outputs) / _MILLION
    return usd * Decimal(price_table()["batch_factor"]) if batch else usd


class Bill:
    """Append-only ledger of a sandbox."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._clock = clock

    def _add(self, kind: str, ref: str, model: str, usd: Decimal, **tokens: int) -> None:
        counts = dict.fromkeys(
            ("input_tokens", "cached_tokens", "output_tokens", "trained_tokens"), 0
        )
        entry = {
            "id": new_id("bill_"),
            "at": int(self._clock.now()),
            "kind": kind,
            "ref": ref,
            "model": model,
            **counts,
            **tokens,
            "usd": format(usd, "f"),
        }
        self._state.append_entry(entry)

    def training(self, job: str, model: str, base: str, tokens: int) -> None:
        """Bill a job for the tokens that it trained on."""
        self._add("training", job, model, training_usd(base, tokens), trained_tokens=tokens)

    def inference(
        self,
        kind: Literal["inference", "batch"],
        ref: str,
        model: str,
        base: str,
        *,
        inputs: int,
        outputs: int,
    ) -> None:
        """Bill a completion, or all the answers of one model in a batch at half price."""
        usd = inference_usd(
            base,
            tuned=model.startswith("ft:"),
            inputs=inputs,
            cached=0,
            outputs=outputs,
            batch=kind == "batch",
        )
        self._add(kind, ref, model, usd, input_tokens=inputs, output_tokens=outputs)

    def shown(self) -> dict[str, Any]:
        """All entries and their exact total."""
        entries = self._state.entries()
        total = sum((Decimal(e["usd"]) for e in entries), Decimal(0))
        return {
            "entries": entries,
            "total_usd": format(total, "f"),
            "currency": "USD",
            "prices": {k: price_table()[k] for k in ("date", "source")},
            "note": "Made by the understudy sandbox on this machine; no provider charges it.",
        }
