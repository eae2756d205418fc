"""What a batch may hold on Azure, and which models take none: data, with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from understudy.errors import NotEligible
from understudy.model import BatchLimits
from understudy_azure.params import base_model
from understudy_openai import enqueued_tokens

__all__ = ["EXPIRY", "LIMITS", "NO_FINE_TUNES", "limits_of"]

LIMITS = BatchLimits(
    requests=100_000,
    bytes=200 * 1000**2,
    window=24 * 3600.0,
    models=1,
    source="Microsoft's batch guide and quotas as read on 2026-11-22; 24 h are a target there, and "
    "batches go on past it; the enqueued tokens are the quota of the deployment",
)
"""One deployment a file; the requests are told by its quota page, the bytes are those of an
upload (1 GB by a blob of one's own, which is not used here)."""

EXPIRY: Mapping[str, object] = {"anchor": "created_at", "seconds": 14 * 24 * 3600}
"""When an uploaded batch file goes. A resource holds 500 files that stay and 10,000 that expire."""

NO_FINE_TUNES = "fine-tuned models cannot batch on Azure"


def limits_of(model: str, *, told: Mapping[str, int]) -> BatchLimits:
    """The limits of ``model``, with the enqueued tokens that the settings tell.

    Raises:
        NotEligible: it is a fine-tune.
    """
    if model.startswith("ft:") or base_model(model) != model:
        raise NotEligible(
            f"{NO_FINE_TUNES}, and {model} is one. Ask its deployment live under a rate limit, or "
            "ask a base model that is deployed as GlobalBatch or DataZoneBatch."
        )
    return replace(LIMITS, enqueued_tokens=enqueued_tokens(model, told=told))
