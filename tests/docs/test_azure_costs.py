"""docs/azure-costs.md says what the price tables say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def written() -> ModuleType:
    spec = importlib.util.spec_from_file_location("azure_costs", DOCS / "azure_costs.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain(page: str) -> str:
    """Without the release of genai-prices: another one may say the same."""
    return re.sub(r"release [0-9.]+", "release N", page)


def test_the_page_is_what_the_tables_give_now(written):
    kept = (DOCS / "azure-costs.md").read_text(encoding="utf-8")
    assert plain(kept) == plain(written.page()), "run: python docs/azure_costs.py"


def test_every_price_has_a_day_or_a_release_and_a_source(written):
    _, prices = written.page().split("## The prices")
    rows = [line.split(" | ") for line in prices.splitlines() if line.startswith(("| a", "| o"))]
    assert len(rows) > 60
    for row in rows:
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}|release [0-9.]+", row[5]), row
        assert row[6], row


def test_the_assumption_is_marked_where_it_counts(written):
    rows = [line for line in written.page().splitlines() if line.startswith("| azure")]
    marked = {tuple(row.split(" | ")[1:3]) for row in rows if written.ASSUMED in row}
    assert marked == {
        ("gpt-4o-mini-2024-07-18", "developer"),
        ("gpt-4o-2024-08-06", "developer"),
    }
