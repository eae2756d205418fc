"""The recipe: one TOML file that says everything of a run."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from understudy.model import Method
from understudy.validation import parse, read_toml

__all__ = [
    "NAME",
    "Budget",
    "Cleaning",
    "Deployment",
    "Evaluation",
    "Export",
    "FilterUse",
    "NearDuplicates",
    "Recipe",
    "Source",
    "Split",
    "Train",
    "load_recipe",
]

NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
"""What names of runs, aliases and budgets look like."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Section):
    """Where examples come from. ``path`` is relative to the recipe.

    ``kind`` is one of ``calls`` (call-log JSONL), ``chat`` (fine-tuning rows), ``preference``
    (pairs for DPO), ``otel``, ``stored``, ``csv``, ``parquet``, or the source of a plugin.
    ``options`` are that source's own. For a service, ``path`` is where its calls are collected,
    and ``service`` the ``[services.NAME]`` table that says how to reach it.
    """

    kind: str = Field(default="calls", min_length=1)
    path: Path
    options: dict[str, Any] = Field(default_factory=dict)
    service: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _services_collect_beside_the_recipe(cls, data: Any) -> Any:
        if isinstance(data, dict) and "path" not in data and data.get("service"):
            return {**data, "path": f"collected/{data['service']}.jsonl"}
        return data


class FilterUse(BaseModel):
    """A cleaning filter by its name, with its options beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    use: str = Field(min_length=1)

    @property
    def options(self) -> dict[str, Any]:
        """The fields beside ``use``."""
        return dict(self.model_extra or {})


class NearDuplicates(_Section):
    """Conversations that say the same in nearly the same words: the best of a cluster stays.

    Similarity is the share of word 3-grams that two conversations have in common (Jaccard), as
    MinHash estimates it; system prompts are left out. ``bands`` times the rows of a band is
    ``permutations``.
    """

    threshold: float = Field(default=0.6, ge=0.3, le=1)
    permutations: int = Field(default=128, ge=16, le=512)
    bands: int = Field(default=32, ge=1)
    ngram: int = Field(default=3, ge=1, le=10)
    seed: int = 1

    @model_validator(mode="after")
    def _bands_divide(self) -> NearDuplicates:
        if self.permutations % self.bands:
            message = f"{self.bands} bands do not divide {self.permutations} permutations"
            raise ValueError(message)
        return self


class Cleaning(_Section):
    """Which rows are dropped before training; every dropped row is kept with its reason."""

    drop: tuple[Literal["truncated", "flagged", "incomplete", "error", "duplicate"], ...] = (
        "truncated",
        "flagged",
        "incomplete",
        "error",
        "duplicate",
    )
    max_row_tokens: int | None = Field(default=None, gt=0)
    min_score: dict[str, float] = Field(default_factory=dict)
    """Least value of a logged score, by its name; rows without that score stay."""
    filters: tuple[FilterUse, ...] = ()
    """Further filters, in the order in which they look at a row."""
    near_duplicates: NearDuplicates | None = None
    held_out: Path | None = None
    """A golden set: rows that are, exactly or nearly, in it leave training and validation."""


class Split(_Section):
    """Shares of conversations, not rows: one conversation is never on both sides."""

    train: float = Field(default=0.8, gt=0, le=1)
    validation: float = Field(default=0.1, ge=0, lt=1)
    test: float = Field(default=0.1, ge=0, lt=1)
    seed: int = 17

    @model_validator(mode="after")
    def _sum_is_one(self) -> Split:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            message = f"train + validation + test is {total:g}, it must be 1"
            raise ValueError(message)
        return self


class Train(_Section):
    """The fine-tuning job."""

    backend: str = Field(min_length=1)
    base_model: str = Field(min_length=1)
    method: Method = "supervised"
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    suffix: str | None = None
    seed: int | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    integrations: tuple[dict[str, Any], ...] = ()


class Evaluation(_Section):
    """How the student is judged on rows that it never saw.

    The verdict passes when the lower end of the score's interval reaches ``bar`` and, where the
    alias already points at a model, the student is not worse than it by more than ``margin``
    (lower end of the paired difference).
    """

    scorer: str = "exact"
    bar: float = Field(default=0.8, ge=0, le=1)
    margin: float = Field(default=0.02, ge=0, le=1)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    compare_base: bool = True
    max_rows: int | None = Field(default=None, gt=0)
    concurrency: int = Field(default=4, ge=1, le=64)
    sampling: dict[str, Any] = Field(default_factory=lambda: {"temperature": 0})
    response_format: dict[str, Any] | None = None
    max_output_tokens: int = Field(default=512, gt=0)
    ask: Literal["live", "batch"] = "live"
    """batch: half the price where the provider has batches, and up to a day later."""


class Deployment(_Section):
    """Where models answer only through a deployment: the one that the evaluation asks.

    It goes down when the evaluation has ended, and after ``evaluation_hours`` at the latest; its
    hosting up to then is reserved. A serving deployment is started by `understudy deployments`.
    """

    evaluation_sku: str | None = None
    """Default: the backend's, which costs nothing by the hour where there is such a one."""
    evaluation_hours: float = Field(default=24, gt=0, le=24 * 14)
    capacity: int | None = Field(default=None, gt=0)


class Export(_Section):
    """Where a trained model is files: which of them are made, and which one answers.

    Each is held against the trained model, on ``rows`` held-out rows, before it is registered.
    """

    formats: tuple[str, ...] = ("f16", "q8_0", "q4_k_m")
    serve: str = "q4_k_m"
    rows: int = Field(default=32, ge=1, le=1000)

    @model_validator(mode="after")
    def _serves_what_is_made(self) -> Export:
        if len(set(self.formats)) != len(self.formats):
            message = "a format is named twice; name each once"
            raise ValueError(message)
        if self.serve not in self.formats:
            message = f"serve is {self.serve!r}; name one of formats: {', '.join(self.formats)}"
            raise ValueError(message)
        return self


class Budget(_Section):
    """A hard stop before money is spent. Runs that name the same budget share it."""

    name: str | None = Field(default=None, pattern=NAME)
    limit_usd: Decimal = Field(gt=0)
    on_exhausted: Literal["attention", "cancel"] = "attention"


class Recipe(_Section):
    """One run, from source to alias."""

    name: str = Field(pattern=NAME)
    source: Source
    cleaning: Cleaning = Cleaning()
    split: Split = Split()
    train: Train
    evaluation: Evaluation = Evaluation()
    deployment: Deployment = Deployment()
    export: Export = Export()
    alias: str | None = Field(default=None, pattern=NAME)
    budget: Budget

    @field_validator("alias", "name")
    @classmethod
    def _not_reserved(cls, value: str | None) -> str | None:
        if value is not None and "@" in value:
            message = "'@' separates a name from a version; leave it out"
            raise ValueError(message)
        return value

    @field_validator("split")
    @classmethod
    def _can_be_judged(cls, value: Split) -> Split:
        if value.test == 0:
            message = "test is 0, but a student is judged on test rows; give it a share, as 0.1"
            raise ValueError(message)
        return value

    @property
    def budget_name(self) -> str:
        """The budget that the run draws on: its own unless it names a shared one."""
        return self.budget.name or self.name


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe; ``source.path`` comes out absolute.

    Raises:
        ConfigError: with the file, the field and the nearest valid name.
    """
    recipe = parse(Recipe, read_toml(path), where=str(path))
    source = recipe.source.model_copy(update={"path": (path.parent / recipe.source.path).resolve()})
    cleaning = recipe.cleaning
    if cleaning.held_out is not None:
        held_out = (path.parent / cleaning.held_out).resolve()
        cleaning = cleaning.model_copy(update={"held_out": held_out})
    return recipe.model_copy(update={"source": source, "cleaning": cleaning})
