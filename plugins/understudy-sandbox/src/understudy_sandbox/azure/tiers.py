"""Training tiers, and what may be trained in which."""

from __future__ import annotations

from typing import Any

from understudy_sandbox.azure.settings import TRAINS_IN
from understudy_sandbox.catalog import Resolved
from understudy_sandbox.errors import ApiError

WAITING = 20  # jobs that may wait for a place
_RUNNING = {"developerTier": 5}
_USUALLY_RUNNING = 3
_SPELLINGS = {
    "standard": "standard",
    "regional": "standard",
    "globalstandard": "globalStandard",
    "global": "globalStandard",
    "1": "globalStandard",
    "developer": "developerTier",
    "developertier": "developerTier",
}
PRICE_TIERS = {"standard": "regional", "globalStandard": "global", "developerTier": "developer"}
DPO = frozenset({"gpt-4o-2024-08-06", "gpt-4.1-2025-04-14", "gpt-4.1-mini-2025-04-14"})


def no_fine_tuning(name: str) -> ApiError:
    """Azure's answer to a model, a region or a body that it cannot train; it names only one."""
    return ApiError(
        400,
        f"The specified base model '{name}' does not support fine-tuning.",
        param="model",
        code="invalidPayload",
    )


def training_tier(given: Any, model: str) -> str:
    """The tier as replies spell it.

    Raises:
        ApiError: none was given, or one that is not known: Azure blames the model for both.
    """
    text = "" if given is None or isinstance(given, bool) else str(given)
    word = text.lower().replace("-", "").replace("_", "").replace(" ", "")
    if word not in _SPELLINGS:
        raise no_fine_tuning(model)
    return _SPELLINGS[word]


def check_method(found: Resolved, method: str, asked: str) -> None:
    """Refuse a method that the base model is not trained with on Azure.

    Raises:
        ApiError: 400.
    """
    if method == "dpo" and found.base not in DPO:
        raise ApiError(
            400,
            f"The method dpo is not supported for the model '{asked}'. Models that it is "
            f"supported for: {', '.join(sorted(DPO))}.",
            param="method.type",
            code="invalidPayload",
        )


def check_region(region: str, model: str) -> None:
    """Refuse a region where nothing is trained.

    Raises:
        ApiError: 400, Azure's misleading one.
    """
    if region not in TRAINS_IN:
        raise no_fine_tuning(model)


def queue_of(home: str, tier: str) -> dict[str, Any]:
    """What jobs of a tier share in a resource: the queue's name and how many run at once."""
    places = _RUNNING.get(tier, _USUALLY_RUNNING)
    kind = "developer" if tier == "developerTier" else "usual"
    return {"name": f"{home}/{kind}", "places": places}
