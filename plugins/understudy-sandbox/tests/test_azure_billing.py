"""Azure's prices: those of the project's own table, to the nano-dollar."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from importlib.resources import files

import pytest

from understudy_sandbox.azure.offers import SKUS
from understudy_sandbox.azure.tiers import PRICE_TIERS
from understudy_sandbox.billing import hosting_usd, inference_usd, price_table, training_usd

TABLE = tomllib.loads(files("understudy.costs").joinpath("training_prices.toml").read_text())
SHEETS = [s for s in TABLE["sheet"] if s["provider"] == "azure"]
BASES = [m for m in price_table()["models"] if m != "gpt-6-luna"]
MILLION = 10**6


def rows(kind: str, tier: str, base: str) -> list[dict[str, str]]:
    found = [r for s in SHEETS for r in s.get(kind, ()) if r["tier"] == tier]
    return [r for r in found if base in r["models"]] or [r for r in found if r["models"] == ["*"]]


@pytest.mark.parametrize("tier", sorted({*PRICE_TIERS.values(), *SKUS.values()}))
@pytest.mark.parametrize("base", BASES)
def test_prices_are_those_of_the_projects_table(tier, base) -> None:
    (trained,) = rows("training", tier, base)
    assert training_usd(base, MILLION, tier) == Decimal(trained["usd_per_million"])
    hosted = rows("hosting", tier, base)[0]
    assert hosting_usd(base, tier, 3600) == Decimal(hosted["usd_per_hour"])
    for row in rows("inference", tier, base):
        for field, counts in (
            ("input", {"inputs": MILLION, "cached": 0, "outputs": 0}),
            ("cached", {"inputs": MILLION, "cached": MILLION, "outputs": 0}),
            ("output", {"inputs": 0, "cached": 0, "outputs": MILLION}),
        ):
            assert inference_usd(base, tuned=True, tier=tier, **counts) == Decimal(row[field])


def test_a_second_of_hosting_is_rounded_to_the_nano_dollar() -> None:
    assert hosting_usd(BASES[0], "global", 1) == Decimal("0.000472222")


def test_training_is_billed_by_tier(azure, azure_file) -> None:
    jobs = azure.classic.fine_tuning.jobs
    for spelt, tier in (("standard", "regional"), ("developer", "developer")):
        job = azure.create(azure_file, tier=spelt)
        azure.reach(lambda name=job.id: jobs.retrieve(name), "succeeded")
        (entry,) = azure.bill("training", job.id)
        tokens = entry["trained_tokens"]
        assert Decimal(entry["usd"]) == training_usd("gpt-4o-mini-2024-07-18", tokens, tier)
