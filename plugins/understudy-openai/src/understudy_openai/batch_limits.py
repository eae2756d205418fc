"""What a batch may hold at OpenAI: data, each with its source."""

from __future__ import annotations

from collections.abc import Mapping

from understudy.model import BatchLimits

__all__ = ["ENQUEUED", "EVERY_MODEL", "LIMITS", "enqueued_tokens"]

EVERY_MODEL = "*"
LIMITS = BatchLimits(
    requests=50_000,
    bytes=200 * 1000**2,
    window=24 * 3600.0,
    models=1,
    batches_per_hour=2_000,
    source="OpenAI's batch guide as read on 2026-11-22; a batch that is not done in 24 h expires",
)
"""All but the enqueued tokens, which depend on the account."""

ENQUEUED: Mapping[str, tuple[int, int, int, int, int]] = {
    "gpt-4o-mini": (2_000_000, 20_000_000, 40_000_000, 1_000_000_000, 15_000_000_000),
}
"""Prompt tokens that may be enqueued at once in usage tiers 1 to 5, by family of base models.

From the model's rate-limit table as quoted in OpenAI's developer forum (thread 1269349); a
fine-tune is taken to share its base model's. Other models: see the account's limits page, and set
``batch_enqueued_tokens``.
"""


def enqueued_tokens(model: str, *, told: Mapping[str, int], tier: int | None = None) -> int | None:
    """The enqueued-token limit of ``model``; None where nobody told it.

    Args:
        model: a base model, a fine-tune (``ft:BASE:...``) or a deployment.
        told: limits of the settings, by model, base model or ``*``; they go first.
        tier: the account's usage tier, 1 to 5.
    """
    base = model.split(":")[1] if model.startswith("ft:") and ":" in model[3:] else model
    for name in (model, base, EVERY_MODEL):
        if name in told:
            return told[name]
    known = next((row for family, row in ENQUEUED.items() if base.startswith(family)), None)
    return known[tier - 1] if known and tier else None
