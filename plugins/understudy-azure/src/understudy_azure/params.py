"""Hyperparameters, limits and training types of Azure: all that can be checked offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from understudy.model import JobSpec, Problem
from understudy_openai import Limits, ModelRule, WireParams, default_epochs, rule_for

__all__ = [
    "CLASSIC",
    "MODELS",
    "TIERS",
    "TRAINING_TYPES",
    "V1",
    "AzureParams",
    "base_model",
    "check_method",
    "check_tier",
    "check_volume",
    "training_type",
]

TRAINING_TYPES: Mapping[str, str] = {
    # Any spelling without case, '-', '_' and ' ': the word that the service writes back.
    "standard": "Standard",
    "regional": "Standard",
    "globalstandard": "GlobalStandard",
    "global": "GlobalStandard",
    "developertier": "developerTier",
    "developer": "developerTier",
}
LITELLM_TYPE = 1
"""litellm sends this number; which tier it means the service alone knows, so it passes as it is."""
_TOKENS_AT_MOST = 2_000_000_000


def training_type(value: Any) -> str | int:
    """The tier as the service writes it, from any spelling that it takes.

    Raises:
        ValueError: there is no such tier.
    """
    if value == LITELLM_TYPE and not isinstance(value, bool):
        return LITELLM_TYPE
    plain = "".join(c for c in str(value).lower() if c not in "-_ ")
    if plain not in TRAINING_TYPES:
        message = "training_type is Standard, GlobalStandard or developerTier"
        raise ValueError(message)
    return TRAINING_TYPES[plain]


class AzureParams(WireParams):
    """Azure's hyperparameters: ``l2_multiplier`` is for dpo; ``training_type`` is the tier."""

    l2_multiplier: (
        Annotated[
            float, Field(strict=True, gt=0, allow_inf_nan=False, description="a number above 0")
        ]
        | None
    ) = None
    training_type: Annotated[
        str | int | None, BeforeValidator(lambda value: value and training_type(value))
    ] = Field(default=None, description="Standard, GlobalStandard or developerTier")


_COMMON = ("n_epochs", "batch_size", "learning_rate_multiplier", "training_type")
BY_METHOD: Mapping[str, tuple[str, ...]] = {
    "supervised": _COMMON,
    "dpo": (*_COMMON, "beta", "l2_multiplier"),
}

_BOTH = ("supervised", "dpo")
MODELS: tuple[ModelRule, ...] = (
    # The first match counts. A name that is not here passes: the region may know it.
    ModelRule(prefix="gpt-4o-mini-2024-07-18", methods=("supervised",), row_tokens=65_536),
    ModelRule(prefix="gpt-4o-mini-", methods=()),  # audio, realtime, transcribe
    ModelRule(prefix="gpt-4o-mini", methods=("supervised",), row_tokens=65_536),
    ModelRule(prefix="gpt-4o-2024-08-06", methods=_BOTH, row_tokens=65_536),
    ModelRule(prefix="gpt-4o-", methods=()),
    ModelRule(prefix="gpt-4o", methods=_BOTH, row_tokens=65_536),
    ModelRule(prefix="gpt-4.1-nano", methods=("supervised",), row_tokens=65_536),
    ModelRule(prefix="gpt-4.1", methods=_BOTH, row_tokens=65_536),
    ModelRule(prefix="gpt-35-turbo", methods=("supervised",)),
    ModelRule(prefix="gpt-6", methods=()),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TierRule:
    """Training types of base models whose name starts with ``prefix``."""

    prefix: str
    tiers: tuple[str, ...]


TIERS: tuple[TierRule, ...] = (
    TierRule(prefix="gpt-35-turbo", tiers=("Standard",)),
    TierRule(prefix="babbage-002", tiers=("Standard",)),
    TierRule(prefix="davinci-002", tiers=("Standard",)),
)
"""Only what is certain: other models pass, since what a region offers changes."""

CLASSIC = Limits(
    provider="Azure OpenAI",
    models=MODELS,
    max_file=512 * 1000**2 - 1,
    suffix=40,
    suffix_form=r"[A-Za-z0-9][A-Za-z0-9_-]*",
    suffix_words="begin with a letter or digit; then letters, digits, '-' and '_'; no dots, "
    "which break the names of deployments",
    hyperparameters=BY_METHOD,
)
V1 = replace(CLASSIC, suffix=64)


def base_model(model: str) -> str:
    """The base of a fine-tune ``BASE.ft-HEX-suffix``; any other name as it is."""
    return model.partition(".ft-")[0]


def check_tier(spec: JobSpec, default: str) -> Iterator[Problem]:
    """Whether the base model is trained in the tier that is asked for."""
    try:
        wanted = training_type(spec.hyperparameters.get("training_type") or default)
    except ValueError:
        return  # told by the check of values
    base = base_model(spec.base_model)
    rule = next((row for row in TIERS if base.startswith(row.prefix)), None)
    if rule is not None and wanted not in rule.tiers and wanted != LITELLM_TYPE:
        yield Problem(
            field="hyperparameters.training_type",
            message=f"{base!r} is not trained in {wanted}",
            fix=f"use training_type = {' or '.join(rule.tiers)}, or another base model",
        )


def check_volume(spec: JobSpec) -> Iterator[Problem]:
    """Whether tokens times epochs stay under what one job may train."""
    told = spec.hyperparameters.get("n_epochs")
    epochs = told if isinstance(told, int) else default_epochs(spec.training.rows)
    total = spec.training.tokens * epochs
    if total > _TOKENS_AT_MOST:
        yield Problem(
            field="training",
            message=f"{total:,} tokens with {epochs} epochs; one job takes {_TOKENS_AT_MOST:,}",
            fix="train on fewer rows or set fewer n_epochs",
        )


def check_method(spec: JobSpec) -> Iterator[Problem]:
    """Reinforcement is Azure's too, but not this plugin's."""
    if spec.method not in BY_METHOD:
        rule = rule_for(base_model(spec.base_model), MODELS)
        able = " or ".join(rule.methods if rule and rule.methods else _BOTH)
        yield Problem(
            field="method",
            message=f"{spec.method!r} is not something that this backend does",
            fix=f"use {able}",
        )
