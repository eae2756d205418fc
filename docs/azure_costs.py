"""Write docs/azure-costs.md from the price tables: ``python docs/azure_costs.py``.

A test holds the file against them, so a price that changes in the tables must change there too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from understudy.costs.compare import Calls, Comparison, TierCost, compare_tiers
from understudy.costs.money import format_usd
from understudy.costs.prices import PriceBook
from understudy.costs.records import HourPrice, Price, TokenPrice
from understudy.errors import ConfigError
from understudy.model import Usage

PAGE = Path(__file__).with_name("azure-costs.md")
AT = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
"""Prices of base models are those of this day."""
EXAMPLES, TOKENS_IN, TOKENS_OUT, A_DAY = 100_000, 1_000, 500, 10_000
TRAINED = EXAMPLES * (TOKENS_IN + TOKENS_OUT)
TEACHER = "gpt-4.1-2025-04-14"
MODELS = (
    "gpt-4o-mini-2024-07-18",
    "gpt-4.1-nano-2025-04-14",
    "gpt-4.1-mini-2025-04-14",
    "gpt-4o-2024-08-06",
    TEACHER,
)
TARGETS = (("azure", MODELS), ("openai", tuple(m for m in MODELS if "nano" not in m)))
ASSUMED = " (assumed)"

HEAD = f"""\
# What a student costs on Azure OpenAI, tier by tier

Written by `python docs/azure_costs.py` from the price tables in the code (those that
`understudy estimate --compare` reads); a test fails where they differ. Do not edit.

The case is a voice platform:

- {EXAMPLES:,} examples of {TOKENS_IN:,} tokens in and {TOKENS_OUT} out, trained on for one epoch
  (the services' default for so many rows): {TRAINED // 10**6} million billed tokens;
- {A_DAY:,} calls a day of the same size, of which nothing is taken as cached;
- the teacher is {TEACHER}. All amounts are US dollars.
"""
NOTES = """\
- *Break-even* is the traffic from which a day of hosting and answers costs less than the teacher's
  answers alone; *never* where an answer costs as much as the teacher's. *Pays back* is the number
  of days after which what is saved at {a_day:,} calls a day has paid for the training.
- The developer tier is for evaluation: the service deletes its deployment after 24 hours and
  promises nothing about it. What its answers cost for 4o and 4o-mini is **assumed** to be the
  global price, as it is for the 4.1 models: the meters of those two contradict themselves.
- Where a price differs by region the highest stands here; the notes name the lowest.
- Hosting is paid by the hour whether the deployment is asked or not. A fine-tune's deployment that
  nobody asks for 15 days is deleted by the service: at $1.70 an hour that is {idle} for nothing.
- Provisioned throughput (ProvisionedManaged and its kin) is sold by the unit, for which the tables
  have no price; `understudy deployments start --sku` refuses it until a price table names one.
- The teacher's price is that of the genai-prices package, which names its release and no day; the
  notes of 2026-11-22 on the providers' pages say the same.
- OpenAI stands beside it for comparison: it starts no fine-tuning job after 2027-01-06, and turns
  these models and their fine-tunes off on 2027-01-14. Vertex AI is not here: no price of it is
  known to the tables yet.
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    book = PriceBook.load()
    idle = format_usd(book.hosting_price("azure", TEACHER, "global").usd_per_hour * 24 * 15)
    parts = [
        HEAD,
        _table(_COLUMNS, _rows(book)),
        NOTES.format(a_day=A_DAY, idle=idle),
        "## The prices\n\nPer million tokens (in / cached / out for answers), or per hour.\n",
        _table(_PRICE_COLUMNS, _prices(book)),
    ]
    return "\n".join(parts)


def _compared(book: PriceBook, provider: str, model: str) -> Comparison:
    calls = Calls(rows=1, tokens=Usage(input=TOKENS_IN, output=TOKENS_OUT), a_day=A_DAY)
    return compare_tiers(
        book,
        provider=provider,
        base_model=model,
        trained_tokens=TRAINED,
        calls=calls,
        teacher=TEACHER,
        at=AT,
    )


_COLUMNS = (
    "target",
    "student",
    "tier",
    "training",
    "hosting a day",
    "1,000 calls",
    f"a day at {A_DAY:,} calls",
    "the teacher's day",
    "break-even, calls a day",
    "pays back",
)


def _rows(book: PriceBook) -> Iterator[list[str]]:
    for provider, models in TARGETS:
        for model in models:
            found = _compared(book, provider, model)
            for tier in found.tiers:
                yield _row(provider, model, found, tier)


def _row(provider: str, model: str, found: Comparison, tier: TierCost) -> list[str]:
    assert found.teacher_thousand is not None
    teacher = found.teacher_thousand * A_DAY / 1000
    assumed = ASSUMED if any("assumed" in note for note in tier.notes) else ""
    return [
        provider,
        model,
        tier.tier,
        _money(tier.training),
        _money(None if tier.hourly is None else tier.hourly * 24),
        _money(tier.a_thousand) + assumed,
        _money(tier.day) + assumed,
        _money(teacher),
        "never" if tier.break_even is None else f"{tier.break_even:,}",
        _pays_back(tier, teacher),
    ]


def _pays_back(tier: TierCost, teacher: Decimal) -> str:
    if tier.day is None or tier.training is None or tier.day >= teacher:
        return "never"
    days = tier.training / (teacher - tier.day)
    return f"{days:,.0f} days"


def _money(amount: Decimal | None) -> str:
    return "?" if amount is None else format_usd(amount)


_PRICE_COLUMNS = ("target", "of", "model", "tier", "price", "as of", "source", "how sure", "note")


def _prices(book: PriceBook) -> Iterator[list[str]]:
    for provider, models in TARGETS:
        teacher = book.inference_price(provider, TEACHER, at=AT)
        yield _price(provider, "answers of the teacher", TEACHER, "", teacher)
        for model in models:
            for tier in book.tiers_of(provider, model):
                for what, price in _of(book, provider, model, tier):
                    yield _price(provider, what, model, tier, price)


def _of(
    book: PriceBook, provider: str, model: str, tier: str
) -> Iterator[tuple[str, Price | HourPrice | TokenPrice]]:
    asked: tuple[tuple[str, Callable[[], Price | HourPrice | TokenPrice]], ...] = (
        ("training", lambda: book.training_price(provider, model, tier)),
        ("hosting", lambda: book.hosting_price(provider, model, tier)),
        ("answers", lambda: book.inference_price(provider, f"ft:{model}", tier=tier, at=AT)),
    )
    for what, price in asked:
        try:
            yield what, price()
        except ConfigError:
            continue  # the first table says "?"


def _price(
    provider: str, what: str, model: str, tier: str, price: Price | HourPrice | TokenPrice
) -> list[str]:
    if isinstance(price, TokenPrice):
        figure = f"{price.input.normalize():f} / {price.cached.normalize():f} / "
        figure += f"{price.output.normalize():f}"
    elif isinstance(price, HourPrice):
        figure = f"{price.usd_per_hour:f} an hour"
    else:
        figure = f"{price.usd_per_million:f}"
    told = [price.as_of, price.source, price.confidence, price.note]
    return [provider, what, model, tier, figure, *told]


def _table(columns: tuple[str, ...], rows: Iterator[list[str]]) -> str:
    lines = [list(columns), ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    main()
