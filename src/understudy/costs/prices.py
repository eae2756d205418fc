"""What training, hosting and answers cost: exact decimals, each with its date and source.

Training, hosting and the inference of fine-tunes come from price tables; the inference of base
models from the genai-prices package, whose data comes with it: nothing here touches the network.
A price that nobody knows is an error, never zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from understudy.costs.money import per_million, times
from understudy.costs.published import published_cost, published_price
from understudy.costs.records import HourPrice, Price, TokenPrice
from understudy.costs.tables import (
    EVERY_MODEL,
    InferenceRow,
    Row,
    Sheet,
    Table,
    Tiers,
    matching,
    read_table,
)
from understudy.errors import ConfigError, DataError, PluginLoadError
from understudy.hookspecs import PriceTable
from understudy.model import Usage
from understudy.validation import nearest

__all__ = ["HourPrice", "Price", "PriceBook", "TokenPrice", "base_of"]

_OWN = Path(__file__).with_name("training_prices.toml")
R = TypeVar("R", bound=Row)
Rows = Callable[[Sheet], Iterable[R]]


def base_of(model: str) -> tuple[str, bool]:
    """The base model of a name, in lower case, and whether the name is a fine-tune of it.

    Knows OpenAI's ``ft:BASE:org:suffix:id``, its checkpoints (``...:ckpt-step-N``), Azure's
    ``BASE.ft-HEX-suffix``, and plain ``ft:BASE`` for a fine-tune that is not made yet.
    """
    name = model.strip().lower()
    if name.startswith("ft:"):
        return name.split(":")[1], True
    base, mark, _ = name.partition(".ft-")
    return base, bool(mark)


@dataclass(frozen=True, slots=True)
class PriceBook:
    """All known prices. Tables are asked in order; the first row that fits counts.

    Every question raises ``PluginLoadError`` while a plugin's table cannot be read.
    """

    tables: Sequence[Table]
    problems: tuple[PluginLoadError, ...] = ()
    """Plugins' tables that cannot be read. Any question for a price then raises the first of
    them: without its table, the price that it replaces would be charged unseen."""

    @classmethod
    def load(cls, extra: Iterable[PriceTable] = ()) -> PriceBook:
        """The core's prices behind those of ``extra``, which go first.

        A table of ``extra`` that cannot be read does not stop the caller here; see ``problems``.
        """
        tables, problems = [], []
        for item in extra:
            try:
                tables.append(read_table(Path(item.path)))
            except ConfigError as error:
                message = f"the prices of {item.name!r} are unusable: {error}"
                problems.append(PluginLoadError(message))
        return cls((*tables, read_table(_OWN)), tuple(problems))

    def training_price(self, provider: str, base_model: str, tier: str | None = None) -> Price:
        """Price of training, per million billed tokens.

        Args:
            provider: as ``Capabilities.price_book`` names it.
            base_model: the model that is trained, or a fine-tune to train further.
            tier: the provider's word or ours (``GlobalStandard``, ``global``); its default if
                absent.

        Raises:
            ConfigError: no table has that price; says which row to add where.
        """
        base, _ = base_of(base_model)
        sheet, row = self._require("training", lambda sheet: sheet.training, provider, base, tier)
        return Price(usd_per_million=row.usd_per_million, **_origin(sheet, row.note))

    def training_cost(
        self, provider: str, base_model: str, trained_tokens: int, tier: str | None = None
    ) -> Decimal:
        """US dollars for ``trained_tokens`` billed tokens, epochs counted in; exact.

        Raises:
            ConfigError: no table has that price.
            DataError: the count is negative, as some providers report it.
        """
        _require_counts(trained_tokens)
        price = self.training_price(provider, base_model, tier)
        return per_million(price.usd_per_million, trained_tokens)

    def hosting_price(self, provider: str, base_model: str, tier: str | None = None) -> HourPrice:
        """Price of one deployment of a fine-tune, per hour, used or not.

        Raises:
            ConfigError: no table has that price.
        """
        base, _ = base_of(base_model)
        sheet, row = self._require("hosting", lambda sheet: sheet.hosting, provider, base, tier)
        return HourPrice(usd_per_hour=row.usd_per_hour, **_origin(sheet, row.note))

    def tiers_of(self, provider: str, base_model: str) -> list[str]:
        """The tiers in which fine-tunes of a model are trained or hosted, in the table's order."""
        base, _ = base_of(base_model)
        default = self._tiers(provider).default
        found = dict.fromkeys(
            row.tier or default
            for table in self._usable()
            for rows in (_training_rows, _hosting_rows)
            for _, row in _pairs(table, rows, provider)
            if base in row.models or EVERY_MODEL in row.models
        )
        return list(found)

    def inference_price(
        self,
        provider: str,
        model: str,
        *,
        batch: bool = False,
        tier: str | None = None,
        at: float | None = None,
    ) -> TokenPrice:
        """Price of answers, per million tokens.

        Args:
            provider: as ``Capabilities.price_book`` names it.
            model: a base model, a fine-tune, a checkpoint, or ``ft:BASE``.
            batch: whether it answers in a batch.
            tier: of a fine-tune's deployment.
            at: seconds since the epoch, for prices that changed; now if absent.

        Raises:
            ConfigError: neither a table nor genai-prices knows the model, or it takes no batch.
        """
        base, fine_tuned = base_of(model)
        price = self._table_price(provider, model, tier)
        # A fine-tune without a row is an error: it is never billed like its base.
        if price is None and not fine_tuned:
            price = published_price(provider.lower(), base, at)
        if price is None:
            raise self._unknown_model(provider, model, tier)
        return price.scaled(self._batch_factor(provider, model)) if batch else price

    def inference_cost(
        self,
        provider: str,
        model: str,
        usage: Usage,
        *,
        batch: bool = False,
        tier: str | None = None,
        at: float | None = None,
    ) -> Decimal:
        """US dollars for one completion; exact. Arguments as for ``inference_price``.

        Raises:
            ConfigError: neither a table nor genai-prices knows the model, or it takes no batch.
            DataError: a token count is negative.
        """
        _require_counts(usage.input, usage.cached, usage.output)
        base, fine_tuned = base_of(model)
        price = self._table_price(provider, model, tier)
        cost = None if price is None else price.cost(usage)
        if price is None and not fine_tuned:
            cost = published_cost(provider.lower(), base, usage, at)
        if cost is None:
            raise self._unknown_model(provider, model, tier)
        return times(cost, self._batch_factor(provider, model)) if batch else cost

    def _table_price(self, provider: str, model: str, tier: str | None) -> TokenPrice | None:
        base, fine_tuned = base_of(model)
        found = self._find(_inference(fine_tuned=fine_tuned), provider, base, tier)
        if found is None:
            return None
        sheet, row = found
        return TokenPrice(
            input=row.input, cached=row.cached, output=row.output, **_origin(sheet, row.note)
        )

    def _batch_factor(self, provider: str, model: str) -> Decimal:
        _, fine_tuned = base_of(model)
        for table in self._usable():
            for sheet in table.sheet:
                if sheet.provider != provider.lower() or sheet.batch is None:
                    continue
                if fine_tuned and not sheet.batch.fine_tuned:
                    raise ConfigError(
                        f"{model} has no batch price at {provider!r}: {sheet.batch.note or 'none'}."
                        " Ask it live, or by batch at another backend."
                    )
                return sheet.batch.factor
        raise ConfigError(
            f"no price table says what a batch costs at {provider!r}; add batch = {{ factor = "
            '"1" }} (no discount) or its discount to a [[sheet]] of a price table'
        )

    def _find(
        self, rows: Rows[R], provider: str, base: str, tier: str | None
    ) -> tuple[Sheet, R] | None:
        tiers = self._tiers(provider)
        wanted = _tier(tiers, tier)
        for table in self.tables:
            found = matching(_pairs(table, rows, provider), base, wanted, tiers.default)
            if found is not None:
                return found
        return None

    def _require(
        self, kind: str, rows: Rows[R], provider: str, base: str, tier: str | None
    ) -> tuple[Sheet, R]:
        found = self._find(rows, provider, base, tier)
        if found is None:
            what = f"{kind} of {base!r}"
            raise self._unknown(what, kind, rows, provider=provider, base=base, tier=tier)
        return found

    def _usable(self) -> Sequence[Table]:
        if self.problems:
            raise self.problems[0]
        return self.tables

    def _tiers(self, provider: str) -> Tiers:
        for table in self._usable():
            if provider.lower() in table.tiers:
                return table.tiers[provider.lower()]
        return Tiers(default="standard")

    def _unknown_model(self, provider: str, model: str, tier: str | None) -> ConfigError:
        base, fine_tuned = base_of(model)
        what = f"answers of {'a fine-tune of ' if fine_tuned else ''}{base!r}"
        rows = _inference(fine_tuned=fine_tuned)
        return self._unknown(what, "inference", rows, provider=provider, base=base, tier=tier)

    def _unknown(
        self,
        what: str,
        kind: str,
        rows: Rows[R],
        *,
        provider: str,
        base: str,
        tier: str | None,
    ) -> ConfigError:
        tiers = self._tiers(provider)
        wanted = _tier(tiers, tier)
        known = [
            (name, row.tier or tiers.default)
            for table in self.tables
            for _, row in _pairs(table, rows, provider)
            for name in row.models
        ]
        providers = {sheet.provider for table in self.tables for sheet in table.sheet}
        if provider.lower() not in providers:
            hint = f"no table has that provider: {nearest(provider, providers)}"
        elif fitting := {has for name, has in known if name in {base, EVERY_MODEL}}:
            hint = f"it is known in other tiers: {nearest(wanted, fitting)}"
        else:
            names = {name for name, has in known if has == wanted}
            hint = f"no table has that model: {nearest(base, names)}"
        if kind == "inference":
            hint += " The genai-prices package was asked for base models."
        return ConfigError(
            f"no price is known for the {what} at {provider!r} (tier {wanted}); {hint} "
            f"To add it, put a row under `{kind}` of a [[sheet]] into a price table (the form is "
            "that of understudy/costs/training_prices.toml) and name its file in [costs] "
            "price_tables of understudy.toml."
        )


def _training_rows(sheet: Sheet) -> Iterable[Row]:
    return sheet.training


def _hosting_rows(sheet: Sheet) -> Iterable[Row]:
    return sheet.hosting


def _inference(*, fine_tuned: bool) -> Rows[InferenceRow]:
    return lambda sheet: [row for row in sheet.inference if row.fine_tuned == fine_tuned]


def _pairs(table: Table, rows: Rows[R], provider: str) -> list[tuple[Sheet, R]]:
    return [
        (sheet, row)
        for sheet in table.sheet
        if sheet.provider == provider.lower()
        for row in rows(sheet)
    ]


def _tier(tiers: Tiers, tier: str | None) -> str:
    if tier is None:
        return tiers.default
    return tiers.names.get(tier.lower(), tier.lower())


def _origin(sheet: Sheet, note: str) -> dict[str, str]:
    return {
        "as_of": sheet.as_of.isoformat(),
        "source": sheet.source,
        "confidence": sheet.confidence,
        "note": note,
    }


def _require_counts(*tokens: int) -> None:
    if min(tokens) < 0:
        raise DataError(
            f"{min(tokens)} tokens cannot be billed; some providers report a negative count "
            "before they know it: look again later, or count the tokens on this side"
        )
