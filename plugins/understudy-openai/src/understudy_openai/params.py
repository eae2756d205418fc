"""Hyperparameters, limits, and the body of a create: all that can be checked offline."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from understudy.backend import Params
from understudy.model import Estimate, JobSpec, Json, Problem, Rows
from understudy_openai.wire import KEY

__all__ = [
    "MODELS",
    "Limits",
    "ModelRule",
    "OpenAIParams",
    "WireParams",
    "check_spec",
    "create_body",
    "default_epochs",
    "estimate",
    "rule_for",
]

Auto = Literal["auto"]
Whole = Annotated[int, Field(strict=True, ge=1)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class WireParams(Params):
    """Hyperparameters of every server of this wire, by their names there.

    What is left out is the provider's choice; ``beta`` is for dpo.
    """

    n_epochs: Annotated[int, Field(strict=True, ge=1, le=50)] | Auto | None = None
    batch_size: Annotated[int, Field(strict=True, ge=1, le=256)] | Auto | None = None
    learning_rate_multiplier: Positive | Auto | None = None
    beta: Annotated[float, Field(strict=True, gt=0, le=2)] | Auto | None = None


class OpenAIParams(WireParams):
    """OpenAI's hyperparameters.

    Those that it adds are for reinforcement, which needs a ``grader`` (an object as the Graders
    API takes it).
    """

    compute_multiplier: Positive | Auto | None = None
    eval_interval: Whole | Auto | None = None
    eval_samples: Whole | Auto | None = None
    reasoning_effort: Literal["default", "low", "medium", "high"] | None = None
    grader: dict[str, Any] | None = None


_COMMON = ("n_epochs", "batch_size", "learning_rate_multiplier")
BY_METHOD: Mapping[str, tuple[str, ...]] = {
    "supervised": _COMMON,
    "dpo": (*_COMMON, "beta"),
    "reinforcement": (
        *_COMMON,
        "compute_multiplier",
        "eval_interval",
        "eval_samples",
        "reasoning_effort",
        "grader",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRule:
    """What is known of base models whose name starts with ``prefix``.

    ``methods`` is empty for models that cannot be fine-tuned; ``row_tokens`` is the longest row.
    """

    prefix: str
    methods: tuple[str, ...]
    row_tokens: int | None = None


MODELS: tuple[ModelRule, ...] = (
    # The first match counts. A name that is not here passes: another server may know it.
    ModelRule(prefix="gpt-4o-mini-2024-07-18", methods=("supervised", "dpo"), row_tokens=65_536),
    ModelRule(prefix="gpt-4o-mini-", methods=()),  # audio, search, realtime, transcribe
    ModelRule(prefix="gpt-4o-mini", methods=("supervised", "dpo"), row_tokens=65_536),
    ModelRule(prefix="gpt-4.1", methods=("supervised", "dpo")),
    ModelRule(prefix="gpt-4o", methods=("supervised", "dpo")),
    ModelRule(prefix="gpt-3.5-turbo", methods=("supervised",)),
    ModelRule(prefix="babbage-002", methods=("supervised",)),
    ModelRule(prefix="davinci-002", methods=("supervised",)),
    ModelRule(prefix="o4-mini", methods=("reinforcement",)),
    ModelRule(prefix="gpt-5", methods=("reinforcement",)),
    ModelRule(prefix="gpt-6", methods=()),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a provider of this wire takes. Sizes in bytes, text lengths in characters."""

    provider: str = "OpenAI"
    models: tuple[ModelRule, ...] = MODELS
    min_rows: int = 10
    max_file: int = 8 * 1024**3
    suffix: int = 64
    suffix_form: str = r"[A-Za-z0-9][A-Za-z0-9._-]*"
    suffix_words: str = "begin with a letter or digit; then letters, digits, '-', '_' and '.'"
    metadata_pairs: int = 16
    metadata_key: int = 64
    metadata_value: int = 512
    max_seed: int = 2_147_483_647
    integrations: tuple[str, ...] = ("wandb",)
    hyperparameters: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: BY_METHOD)
    """Names by method."""


def rule_for(model: str, models: Iterable[ModelRule]) -> ModelRule | None:
    """The rule for a base model, or for a fine-tune (``ft:BASE:...``) that is trained further."""
    base = model.removeprefix("ft:")
    return next((rule for rule in models if base.startswith(rule.prefix)), None)


def check_spec(spec: JobSpec, limits: Limits, params: type[Params]) -> list[Problem]:
    """Why ``spec`` cannot work, without network and money; empty when nothing is wrong."""
    return [
        *_hyperparameters(spec, limits, params),
        *_model(spec, limits),
        *_rows("training", spec.training, limits.min_rows, limits),
        *(_rows("validation", spec.validation, 1, limits) if spec.validation else ()),
        *_longest(spec, limits),
        *_suffix(spec, limits),
        *_metadata(spec, limits),
        *_rest(spec, limits),
    ]


def _hyperparameters(spec: JobSpec, limits: Limits, params: type[Params]) -> Iterator[Problem]:
    known = list(params.model_fields)
    fitting = [name for name in limits.hyperparameters.get(spec.method, ()) if name in known]
    for name in spec.hyperparameters:
        if name in fitting:
            continue
        place = f"hyperparameters.{name}"
        if name in known:
            fix = f"leave it out; {spec.method} takes {', '.join(fitting)}"
            yield Problem(field=place, message=f"{name!r} is not for {spec.method}", fix=fix)
        else:
            close = difflib.get_close_matches(name, fitting, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}? " if close else ""
            fix = f"{hint}valid: {', '.join(sorted(fitting))}"
            yield Problem(field=place, message=f"{name!r} is not a known name", fix=fix)
    given = {name: value for name, value in spec.hyperparameters.items() if name in known}
    try:
        params.model_validate(given)
    except ValidationError as error:
        yield from _bad_values(error, params)
    if spec.method == "reinforcement" and not given.get("grader"):
        yield Problem(
            field="hyperparameters.grader",
            message="reinforcement needs a grader and there is none",
            fix="give a grader object as the Graders API takes it",
        )


_RANGES: Mapping[str, str] = {
    "n_epochs": "a whole number from 1 to 50, or 'auto'",
    "batch_size": "a whole number from 1 to 256, or 'auto'",
    "learning_rate_multiplier": "a number above 0, or 'auto'",
    "beta": "a number above 0 and at most 2, or 'auto'",
    "compute_multiplier": "a number above 0, or 'auto'",
    "eval_interval": "a whole number from 1, or 'auto'",
    "eval_samples": "a whole number from 1, or 'auto'",
    "reasoning_effort": "default, low, medium or high",
    "grader": "an object",
}


def _bad_values(error: ValidationError, params: type[Params]) -> Iterator[Problem]:
    # A union reports each of its arms; one line a field is enough.
    for name in dict.fromkeys(str(item["loc"][0]) for item in error.errors() if item["loc"]):
        told = _RANGES.get(name) or params.model_fields[name].description
        fix = f"give {told or 'a value of the documented kind'}"
        message = f"the value of {name!r} is out of range"
        yield Problem(field=f"hyperparameters.{name}", message=message, fix=fix)


def _model(spec: JobSpec, limits: Limits) -> Iterator[Problem]:
    rule = rule_for(spec.base_model, limits.models)
    if rule is None or spec.method in rule.methods:
        return
    able = sorted({row.prefix for row in limits.models if spec.method in row.methods})
    if rule.methods:
        message = f"{spec.base_model!r} cannot be trained by {spec.method}"
        fix = f"use {' or '.join(rule.methods)}, or one of: {', '.join(able)}"
    else:
        message = f"{spec.base_model!r} cannot be fine-tuned at {limits.provider}"
        fix = f"for {spec.method} use one of: {', '.join(able)}"
    yield Problem(field="base_model", message=message, fix=fix)


def _rows(place: str, rows: Rows, least: int, limits: Limits) -> Iterator[Problem]:
    if rows.rows < least:
        message = f"{rows.rows} rows, {limits.provider} takes {least} or more"
        yield Problem(field=place, message=message, fix="add rows, or drop fewer in cleaning")
    if rows.bytes > limits.max_file:
        message = f"the file has {rows.bytes:,} bytes, {limits.provider} takes {limits.max_file:,}"
        yield Problem(field=place, message=message, fix="train on fewer rows")


def _longest(spec: JobSpec, limits: Limits) -> Iterator[Problem]:
    rule = rule_for(spec.base_model, limits.models)
    most = rule.row_tokens if rule else None
    for place, rows in (("training", spec.training), ("validation", spec.validation)):
        if most is not None and rows is not None and rows.longest > most:
            message = (
                f"the longest row has {rows.longest:,} tokens, {spec.base_model} takes {most:,}"
            )
            fix = f"set cleaning.max_row_tokens = {most}"
            yield Problem(field=place, message=message, fix=fix)


def _suffix(spec: JobSpec, limits: Limits) -> Iterator[Problem]:
    if spec.suffix is None:
        return
    if len(spec.suffix) > limits.suffix:
        message = f"the suffix has {len(spec.suffix)} characters, at most {limits.suffix} are taken"
        yield Problem(field="suffix", message=message, fix="shorten it")
    if not re.fullmatch(limits.suffix_form, spec.suffix):
        message = f"the suffix {spec.suffix[:80]!r} has characters that a model name cannot have"
        yield Problem(field="suffix", message=message, fix=limits.suffix_words)


def _metadata(spec: JobSpec, limits: Limits) -> Iterator[Problem]:
    free = limits.metadata_pairs - 1
    if len(spec.metadata) > free:
        message = f"{len(spec.metadata)} pairs; {free} are free, one is Understudy's own"
        yield Problem(field="metadata", message=message, fix="drop some")
    for key, value in spec.metadata.items():
        place = f"metadata.{key[:64]}"
        if key == KEY:
            message = f"{KEY!r} is reserved: it is how a job is found again"
            yield Problem(field=place, message=message, fix="use another name")
        if not 0 < len(key) <= limits.metadata_key:
            message = f"the name has {len(key)} characters, 1 to {limits.metadata_key} are taken"
            yield Problem(field=place, message=message, fix="use another name")
        if not isinstance(value, str) or len(value) > limits.metadata_value:
            message = f"the value is not text of at most {limits.metadata_value} characters"
            yield Problem(field=place, message=message, fix="shorten it, or write it as text")


def _rest(spec: JobSpec, limits: Limits) -> Iterator[Problem]:
    if spec.seed is not None and not 0 <= spec.seed <= limits.max_seed:
        message = f"the seed {spec.seed} is out of range"
        yield Problem(field="seed", message=message, fix=f"use 0 to {limits.max_seed}")
    for number, wanted in enumerate(spec.integrations):
        place, kind = f"integrations.{number}", wanted.get("type")
        if kind not in limits.integrations:
            names = ", ".join(limits.integrations) or "none"
            yield Problem(field=place, message="unknown integration", fix=f"valid: {names}")
        elif not isinstance(wanted.get("wandb"), Mapping) or not wanted["wandb"].get("project"):
            message = "wandb needs the project that the run goes to"
            fix = '{ type = "wandb", wandb = { project = "..." } }'
            yield Problem(field=place, message=message, fix=fix)


def create_body(
    spec: JobSpec, *, training: str, validation: str | None, key: str
) -> dict[str, Json]:
    """The body of ``POST /fine_tuning/jobs``. Hyperparameters go under ``method``."""
    chosen = {name: value for name, value in spec.hyperparameters.items() if value is not None}
    grader = chosen.pop("grader", None)
    inner: dict[str, Json] = {"hyperparameters": chosen} if chosen else {}
    if grader is not None:
        inner["grader"] = grader
    body: dict[str, Json] = {
        "model": spec.base_model,
        "training_file": training,
        "validation_file": validation,
        "method": {"type": spec.method, spec.method: inner},
        "metadata": {**spec.metadata, KEY: key},
        "seed": spec.seed,
        "suffix": spec.suffix,
        "integrations": [dict(one) for one in spec.integrations] or None,
    }
    return {name: value for name, value in body.items() if value is not None}


def default_epochs(rows: int) -> int:
    """The provider's published choice for ``auto``: 3, more for few rows, fewer for many."""
    if rows * 3 < 100:
        return min(25, 100 // max(rows, 1))
    if rows * 3 > 25_000:
        return max(1, 25_000 // rows)
    return 3


def estimate(spec: JobSpec) -> Estimate:
    """Billed tokens: those of one epoch times the epochs; validation rows are not billed.

    With ``auto`` the provider chooses; ``at_most`` then leaves room for one epoch more than its
    published rule.
    """
    told = spec.hyperparameters.get("n_epochs")
    notes: list[str] = []
    if isinstance(told, int):
        epochs = most = told
    else:
        epochs = default_epochs(spec.training.rows)
        most = epochs + 1
        notes.append(
            f"n_epochs is auto: {epochs} by the provider's published rule; set it to be sure"
        )
    if spec.method == "reinforcement":
        notes.append("reinforcement is billed by the hour of training, not by these tokens")
    tokens = spec.training.tokens
    return Estimate(
        tokens=tokens * epochs, at_most=tokens * most, epochs=epochs, notes=tuple(notes)
    )
