"""The recipe of a precompute run: one TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from understudy.errors import ConfigError
from understudy.recipe import NAME, Budget
from understudy.validation import parse, read_toml

__all__ = [
    "Ask",
    "Check",
    "Compare",
    "Input",
    "PrecomputeRecipe",
    "Publish",
    "Sending",
    "load_precompute",
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Input(_Section):
    """The rows that are asked about: a path relative to the recipe, or any fsspec URL."""

    path: str = Field(min_length=1)
    format: Literal["jsonl", "csv", "parquet"] | None = None
    """By the name's ending where it is not said; ``.gz`` is unpacked."""
    reference: str | None = None
    """Field with the right answer, where it is known; see ``[check] scorer``."""


class Template(_Section):
    """One message; ``content`` is a Jinja template over the row's fields."""

    role: str = Field(min_length=1)
    content: str


class Ask(_Section):
    """What is asked of whom.

    The requests are those that the application sends later: same messages, same sampling. Its
    ``max_tokens`` is ``max_output_tokens``.
    """

    model: str = Field(min_length=1)
    """An alias or a version (``name@3``); with ``backend``, a model as the provider names it."""
    backend: str | None = None
    system: str | None = None
    prompt: str | None = None
    messages: tuple[Template, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    response_format: dict[str, Any] | None = None
    sampling: dict[str, Any] = Field(default_factory=lambda: {"temperature": 0})
    max_output_tokens: int = Field(default=256, gt=0)
    expected_output_tokens: int | None = Field(default=None, gt=0)
    """Of one answer, for the estimate; without it the bound is expected."""
    tenant: str | None = None

    @model_validator(mode="after")
    def _one_prompt(self) -> Ask:
        if bool(self.prompt) == bool(self.messages):
            message = "give either prompt (with system, if you like) or messages"
            raise ValueError(message)
        if self.messages and self.system:
            message = "system goes into messages where those are given"
            raise ValueError(message)
        return self

    @property
    def templates(self) -> tuple[Template, ...]:
        """All messages, in order."""
        if self.messages:
            return self.messages
        first = () if self.system is None else (Template(role="system", content=self.system),)
        return (*first, Template(role="user", content=self.prompt or ""))

    @property
    def all_sampling(self) -> dict[str, Any]:
        """The sampling parameters as they are sent."""
        return {**self.sampling, "max_tokens": self.max_output_tokens}


class Check(_Section):
    """What an answer must be before it enters the cache; the others are kept apart.

    ``json_schema``: a schema, or the path of one. ``scorer``: compares with the input's
    ``reference``; below ``bar`` an answer stays out. ``sample`` answers are compared with live
    ones of the same model, chosen by ``seed``.
    """

    json_schema: dict[str, Any] | Path | None = None
    scorer: str | None = None
    bar: float = Field(default=0.5, ge=0, le=1)
    allow_cut: bool = False
    """Whether an answer that reached ``max_output_tokens`` may enter."""
    sample: int = Field(default=20, ge=0, le=10_000)
    agreement: float | None = Field(default=None, ge=0, le=1)
    """Share of the sample that must agree with its live answers; below it nothing is published."""
    seed: int = 17


class Sending(_Section):
    """How the requests are sent. Numbers narrow what the backend allows.

    ``via``: ``auto`` asks by batch where the model can be, and says what it costs live where it
    cannot; ``live`` uses the live endpoint at ``requests_per_minute``.
    """

    via: Literal["auto", "batch", "live"] = "auto"
    attempts: int = Field(default=3, ge=1, le=20)
    enqueued_tokens: int | None = Field(default=None, gt=0)
    at_once: int | None = Field(default=None, gt=0)
    requests_a_batch: int | None = Field(default=None, gt=0)
    requests_per_minute: float | None = Field(default=None, gt=0)
    concurrency: int = Field(default=4, ge=1, le=64)


class Publish(_Section):
    """Where the answers go, and from which share of the keys on.

    ``coverage`` (0 to 1): below it the generation is withheld. ``ttl`` in seconds.
    """

    cache: str | None = None
    """Name of the cache; default: the alias, or the recipe's name."""
    coverage: float | None = Field(default=None, ge=0, le=1)
    ttl: float | None = Field(default=None, gt=0)
    tail: bool = True
    """Whether live answers that were written back are carried into the generation."""


class Compare(_Section):
    """The teacher, for what was saved against asking it."""

    teacher: str
    backend: str | None = None
    """Default: the asked model's backend."""


class PrecomputeRecipe(_Section):
    """One precompute run, from rows to a cache generation."""

    name: str = Field(pattern=NAME)
    input: Input
    ask: Ask
    check: Check = Check()
    batch: Sending = Sending()
    publish: Publish = Publish()
    compare: Compare | None = None
    budget: Budget

    @model_validator(mode="after")
    def _scorer_has_references(self) -> PrecomputeRecipe:
        if self.check.scorer and not self.input.reference:
            message = (
                "[check] scorer compares with a reference: name its field in [input] reference"
            )
            raise ValueError(message)
        return self

    @property
    def budget_name(self) -> str:
        """The budget that the run draws on: its own unless it names a shared one."""
        return self.budget.name or self.name

    @property
    def answer_schema(self) -> dict[str, Any] | None:
        """The JSON schema of an answer, if there is one; ``load_precompute`` has read it."""
        found = self.check.json_schema
        return found if isinstance(found, dict) else None


def load_precompute(path: Path) -> PrecomputeRecipe:
    """Read and check a recipe; a local input's path comes out absolute, a schema's file is read.

    Raises:
        ConfigError: with the file, the field and the nearest valid name.
    """
    recipe = parse(PrecomputeRecipe, read_toml(path), where=str(path))
    source = recipe.input
    if "://" not in source.path:
        source = source.model_copy(update={"path": str((path.parent / source.path).resolve())})
    check = recipe.check
    if isinstance(check.json_schema, Path):
        schema = _schema((path.parent / check.json_schema).resolve())
        check = check.model_copy(update={"json_schema": schema})
    return recipe.model_copy(update={"input": source, "check": check})


def _schema(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"[check.json_schema] {path} cannot be read ({error.strerror}); check the path"
        ) from None
    except ValueError as error:
        raise ConfigError(f"[check.json_schema] {path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"[check.json_schema] {path} must hold a JSON object")
    return found
