"""The form of a price table: TOML, described at the top of training_prices.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from understudy.errors import ConfigError
from understudy.validation import parse

__all__ = [
    "EVERY_MODEL",
    "BatchRow",
    "HostingRow",
    "InferenceRow",
    "Row",
    "Sheet",
    "Table",
    "Tiers",
    "TrainingRow",
    "matching",
    "read_table",
]

R = TypeVar("R", bound="Row")

EVERY_MODEL = "*"

_Name = Annotated[str, StringConstraints(to_lower=True, min_length=1, strip_whitespace=True)]
_Usd = Annotated[Decimal, Field(ge=0, allow_inf_nan=False, max_digits=20)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Part):
    """What every priced row says; no tier means the provider's default tier."""

    models: tuple[_Name, ...] = Field(min_length=1)
    tier: _Name | None = None
    note: str = ""


class TrainingRow(Row):
    """US dollars per million billed tokens."""

    usd_per_million: _Usd


class HostingRow(Row):
    """US dollars per hour of one deployment."""

    usd_per_hour: _Usd


class InferenceRow(Row):
    """US dollars per million tokens, of the models' fine-tunes or of the models themselves."""

    fine_tuned: bool
    input: _Usd
    cached: _Usd
    output: _Usd


class BatchRow(_Part):
    """Factor on the price of inference in a batch, and whether fine-tunes are taken too."""

    factor: Annotated[Decimal, Field(ge=0, le=1)]
    fine_tuned: bool = True
    note: str = ""


class Sheet(_Part):
    """What one source said on one day."""

    provider: _Name
    as_of: date
    source: str = Field(min_length=1)
    confidence: Literal["listed", "second-hand"]
    training: tuple[TrainingRow, ...] = ()
    hosting: tuple[HostingRow, ...] = ()
    inference: tuple[InferenceRow, ...] = ()
    batch: BatchRow | None = None


class Tiers(_Part):
    """A provider's tiers: the one where none is asked for, and the provider's own words."""

    default: _Name
    names: Mapping[_Name, _Name] = Field(default_factory=dict)


class Table(_Part):
    """One file."""

    tiers: Mapping[_Name, Tiers] = Field(default_factory=dict)
    sheet: tuple[Sheet, ...] = ()


def read_table(path: Path) -> Table:
    """The price table in a file; numbers are read as exact decimals.

    Raises:
        ConfigError: absent, not UTF-8, not TOML, or not of the form; with file and field.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"), parse_float=Decimal)
    except OSError as error:
        raise ConfigError(
            f"price table {path}: cannot be read ({error.strerror}); correct the path, or "
            "reinstall the plugin that brings it"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"price table {path}: not UTF-8 at byte {error.start}; save it as UTF-8"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"price table {path}: not valid TOML: {error}") from None
    return parse(Table, data, where=f"price table {path}")


def matching(
    rows: Iterable[tuple[Sheet, R]], model: str, tier: str, default: str
) -> tuple[Sheet, R] | None:
    """The row for a model and tier: one that names the model, else one for every model."""
    fitting = [pair for pair in rows if (pair[1].tier or default) == tier]
    for name in (model, EVERY_MODEL):
        for pair in fitting:
            if name in pair[1].models:
                return pair
    return None
