"""Prices: exact, dated, never silently zero, and the same as the sandbox bills."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.costs import prices
from understudy.costs.money import to_nanos
from understudy.costs.prices import PriceBook, base_of
from understudy.errors import ConfigError, DataError, PluginLoadError
from understudy.hookspecs import PriceTable
from understudy.model import Usage

BOOK = PriceBook.load()
# Per million tokens: training; base input, cached, output; fine-tune input, cached, output.
BILLED = {
    "gpt-4o-mini-2024-07-18": ("3.00", "0.15 0.075 0.60", "0.30 0.15 1.20"),
    "gpt-4o-2024-08-06": ("25.00", "2.50 1.25 10", "3.75 1.875 15"),
    "gpt-4.1-2025-04-14": ("25.00", "2 0.50 8", "3 0.75 12"),
    "gpt-4.1-mini-2025-04-14": ("5.00", "0.40 0.10 1.60", "0.80 0.20 3.20"),
    "gpt-4.1-nano-2025-04-14": ("1.50", "0.10 0.025 0.40", "0.20 0.05 0.80"),
}
MODELS = sorted(BILLED)
TOKENS = st.integers(min_value=0, max_value=10**9)


def _nanos(rates: str, usage: Usage) -> int:
    """Nano-dollars in whole numbers, apart from the code under test."""
    fresh, cached, output = (int(Decimal(rate) * 1000) for rate in rates.split())
    return fresh * (usage.input - usage.cached) + cached * usage.cached + output * usage.output


@pytest.fixture
def table(tmp_path):
    def write(text: str) -> PriceTable:
        path = tmp_path / "prices.toml"
        path.write_text(text, encoding="utf-8")
        return PriceTable(name="own", path=str(path))

    return write


SHEET = '[[sheet]]\nprovider = "openai"\nas_of = 2026-01-02\nsource = "a contract"\n'


@given(model=st.sampled_from(MODELS), input_=TOKENS, output=TOKENS, share=st.floats(0, 1))
def test_answers_cost_what_the_sandbox_bills_to_the_nano(model, input_, output, share):
    usage = Usage(input=input_, output=output, cached=int(input_ * share))
    _, base, tuned = BILLED[model]
    assert to_nanos(BOOK.inference_cost("openai", model, usage)) == _nanos(base, usage)
    student = f"ft:{model}:org:suffix:abc123"
    assert to_nanos(BOOK.inference_cost("openai", student, usage)) == _nanos(tuned, usage)


@given(model=st.sampled_from(MODELS), tuned=st.booleans(), input_=TOKENS, cached=TOKENS)
def test_a_batch_costs_half_exactly(model, tuned, input_, cached):
    usage = Usage(input=input_, output=7, cached=min(cached, input_))
    name = f"ft:{model}:org::abc" if tuned else model
    live = BOOK.inference_cost("openai", name, usage)
    assert BOOK.inference_cost("openai", name, usage, batch=True) * 2 == live


def test_a_batch_on_azure_costs_half_and_is_for_base_models():
    usage = Usage(input=1000, output=10)
    live = BOOK.inference_cost("azure", "gpt-4o-mini-2024-07-18", usage)
    for tier in (None, "GlobalBatch", "DataZoneBatch"):
        cost = BOOK.inference_cost("azure", "gpt-4o-mini", usage, batch=True, tier=tier)
        assert cost * 2 == live
    tuned = f"gpt-4o-mini-2024-07-18.ft-{'0' * 32}-shop"
    with pytest.raises(ConfigError, match="cannot batch on Azure"):
        BOOK.inference_cost("azure", tuned, usage, batch=True)
    with pytest.raises(ConfigError, match="Ask it live"):
        BOOK.inference_price("azure", "ft:gpt-4o-mini", batch=True)


@pytest.mark.parametrize("model", MODELS)
def test_training_costs_what_the_sandbox_bills(model):
    price = BOOK.training_price("openai", model)
    assert price.usd_per_million == Decimal(BILLED[model][0])
    assert BOOK.training_cost("openai", model, 123_457) == price.usd_per_million * 123457 / 10**6
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", price.as_of)
    assert price.confidence in price.told
    assert price.source in price.told


@pytest.mark.parametrize("model", MODELS)
def test_genai_prices_agrees_on_base_models_offline_and_without_floats(model, socket_disabled):
    import genai_prices

    found = genai_prices.calc_price(
        genai_prices.Usage(input_tokens=10**6, output_tokens=10**6), model, provider_id="openai"
    )
    fresh, cached, output = (Decimal(rate) for rate in BILLED[model][1].split())
    assert (found.model_price.input_mtok, found.model_price.output_mtok) == (fresh, output)
    assert found.model_price.cache_read_mtok == cached
    assert found.auto_update_timestamp is None
    price = BOOK.inference_price("openai", model)
    assert (price.input, price.cached, price.output) == (fresh, cached, output)
    for number in (found.total_price, price.input, price.cached, price.output):
        assert type(number) is Decimal
    assert type(BOOK.inference_cost("openai", model, Usage(input=1, output=1))) is Decimal


def test_aliases_cost_what_their_snapshots_cost():
    for model in MODELS:
        alias = re.sub(r"-20\d\d-\d\d-\d\d$", "", model)
        assert BOOK.training_price("openai", alias) == BOOK.training_price("openai", model)
        assert BOOK.inference_price("openai", f"ft:{alias}") == BOOK.inference_price(
            "openai", f"ft:{model}"
        )


@pytest.mark.parametrize(
    ("model", "base"),
    [
        ("gpt-4.1-2025-04-14", ("gpt-4.1-2025-04-14", False)),
        ("ft:gpt-4o-mini-2024-07-18:org:suffix:id", ("gpt-4o-mini-2024-07-18", True)),
        ("ft:gpt-4o-mini-2024-07-18:org::id:ckpt-step-90", ("gpt-4o-mini-2024-07-18", True)),
        ("FT:GPT-4.1", ("gpt-4.1", True)),
        ("gpt-4.1-2025-04-14.ft-0123456789abcdef0123456789abcdef-s", ("gpt-4.1-2025-04-14", True)),
    ],
)
def test_names_of_fine_tunes_lead_to_their_base(model, base):
    assert base_of(model) == base


@pytest.mark.parametrize(
    ("tier", "usd"),
    [
        (None, "3.00"),
        ("global", "3.00"),
        ("GlobalStandard", "3.00"),
        ("Standard", "3.96"),
        ("developerTier", "1.50"),
        ("DataZoneStandard", "3.30"),
    ],
)
def test_azure_tiers_go_by_azures_own_words(tier, usd):
    price = BOOK.training_price("azure", "gpt-4o-mini", tier)
    assert price.usd_per_million == Decimal(usd)


def test_azure_fine_tunes_have_azures_prices_and_an_hourly_fee():
    name = "gpt-4o-mini-2024-07-18.ft-0123456789abcdef0123456789abcdef-s"
    assert BOOK.inference_price("azure", name).input == Decimal("0.15")
    assert BOOK.inference_price("azure", name, tier="regional").input == Decimal("0.198")
    assert BOOK.hosting_price("azure", name).usd_per_hour == Decimal("1.70")
    assert BOOK.hosting_price("azure", name, "Standard").usd_per_hour == Decimal("2.04")
    assert BOOK.hosting_price("azure", "gpt-4.1", "Standard").usd_per_hour == Decimal("1.70")
    assert BOOK.hosting_price("azure", name, "developer").usd_per_hour == 0
    assert BOOK.hosting_price("openai", "gpt-4.1").usd_per_hour == 0


USAGE = Usage(input=1, output=1)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: BOOK.training_price("openai", "gpt-4o-mni"), "did you mean 'gpt-4o-mini'"),
        (lambda: BOOK.training_cost("openai", "gpt-6-luna", 1), "under `training`"),
        (lambda: BOOK.training_price("opnai", "gpt-4o"), "did you mean 'openai'"),
        (lambda: BOOK.training_price("azure", "gpt-4o", "regonal"), "did you mean 'regional'"),
        (lambda: BOOK.inference_cost("openai", "gpt-99", USAGE), "genai-prices"),
        (lambda: BOOK.inference_price("openai", "gpt-99"), "under `inference`"),
        (lambda: BOOK.inference_cost("openai", "ft:gpt-3.5-turbo:o::i", USAGE), "fine-tune of"),
        (lambda: BOOK.inference_price("openai", "ft:", batch=True), "fine-tune of ''"),
        (lambda: BOOK.inference_cost("nobody", "gpt-4o", USAGE), "did you mean|Valid"),
        (lambda: BOOK.inference_cost("anthropic", "claude-sonnet-4-5", USAGE, batch=True), "batch"),
        (lambda: BOOK.hosting_price("local", "qwen"), "under `hosting`"),
    ],
)
def test_an_unknown_price_is_an_error_that_says_what_to_add(ask, says):
    with pytest.raises(ConfigError, match=says):
        ask()


def test_other_providers_base_models_come_from_genai_prices():
    assert BOOK.inference_cost("anthropic", "claude-sonnet-4-5", USAGE, at=1.78e9) > 0
    # The price rises with the prompt's length: a bound takes the highest.
    assert BOOK.inference_price("openai", "gpt-6-luna").input >= BOOK.inference_cost(
        "openai", "gpt-6-luna", Usage(input=10**6, output=0)
    )


def test_impossible_counts():
    many = Usage(input=10, output=0, cached=99)
    for model in ("gpt-4o", "ft:gpt-4o"):
        all_cached = Usage(input=10, output=0, cached=10)
        assert BOOK.inference_cost("openai", model, many) == BOOK.inference_cost(
            "openai", model, all_cached
        )
        with pytest.raises(DataError, match="-5 tokens"):
            BOOK.inference_cost("openai", model, Usage(input=-5, output=0))
    with pytest.raises(DataError, match="-1 tokens"):
        BOOK.training_cost("openai", "gpt-4o", -1)


def test_a_plugins_table_goes_first_and_numbers_stay_exact(table):
    own = table(
        SHEET + 'confidence = "listed"\nbatch = { factor = 0.25 }\n'
        'training = [{ models = ["gpt-4o-mini"], usd_per_million = 0.1 }]\n'
        'inference = [{ models = ["GPT-4o"], fine_tuned = false, input = 0.7, cached = 0, '
        'output = "1.1" }, { models = ["*"], fine_tuned = true, input = 1, cached = 1, '
        "output = 1 }]\n"
    )
    book = PriceBook.load([own])
    price = book.training_price("openai", "gpt-4o-mini")
    assert str(price.usd_per_million) == "0.1"
    assert (price.as_of, price.source) == ("2026-01-02", "a contract")
    assert price.told == "a contract (2026-01-02)"
    assert book.training_price("openai", "gpt-4.1").usd_per_million == 25
    assert book.inference_price("openai", "gpt-4o").output == Decimal("1.1")
    assert book.inference_price("openai", "ft:whatever:o::i", batch=True).input == Decimal("0.25")
    assert book.training_price("azure", "gpt-4o").usd_per_million == 25


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sheet = [", "not valid TOML"),
        ("[[shet]]\n", r"did you mean 'sheet'"),
        (SHEET + 'confidence = "sure"\n', "confidence"),
        (
            SHEET + 'confidence = "listed"\ntraining = [{ models = [], usd_per_million = 1 }]',
            "models",
        ),
        (
            SHEET + 'confidence = "listed"\ntraining = [{ models = ["m"], usd_per_million = -1 }]',
            "usd",
        ),
        (
            SHEET + 'confidence = "listed"\ntraining = [{ models = ["m"], usd_per_million = nan }]',
            "usd",
        ),
        (SHEET + 'confidence = "listed"\nbatch = { factor = 2 }', "factor"),
    ],
)
def test_a_broken_table_is_named_with_its_field(table, text, says):
    book = PriceBook.load([table(text)])
    for ask in (
        lambda: book.training_price("azure", "gpt-4o"),
        lambda: book.hosting_price("azure", "gpt-4o"),
        lambda: book.inference_price("openai", "gpt-4o"),
        lambda: book.inference_cost("openai", "gpt-4o", USAGE, batch=True),
    ):
        with pytest.raises(PluginLoadError, match=says) as caught:
            ask()
        assert "'own'" in str(caught.value)


def test_an_absent_or_binary_table_is_named(tmp_path):
    absent, binary = tmp_path / "absent.toml", tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    book = PriceBook.load([PriceTable(name=path.stem, path=str(path)) for path in (absent, binary)])
    assert [word in str(book.problems[0]) for word in ("'absent'", "cannot be read")] == [
        True,
        True,
    ]
    assert [word in str(book.problems[1]) for word in ("'binary'", "not UTF-8")] == [True, True]
    assert BOOK.problems == ()


def test_every_row_of_the_core_is_reachable_and_dated():
    own = BOOK.tables[-1]
    assert {sheet.provider for sheet in own.sheet} == set(own.tiers)
    for sheet in own.sheet:
        for row in (*sheet.training, *sheet.hosting):
            tier = row.tier
            for model in row.models:
                assert BOOK.hosting_price(sheet.provider, model, tier).as_of >= "2026"
        for row in sheet.training:
            for model in row.models:
                found = BOOK.training_price(sheet.provider, model, row.tier)
                assert found.usd_per_million == row.usd_per_million
        for priced in sheet.inference:
            for model in priced.models:
                found = BOOK.inference_price(sheet.provider, f"ft:{model}", tier=priced.tier)
                assert (found.input, found.output) == (priced.input, priced.output)


def test_the_table_lies_beside_the_code():
    path = Path(prices.__file__).with_name("training_prices.toml")
    assert PriceBook.load([PriceTable(name="copy", path=str(path))]).tables[0] == BOOK.tables[0]
