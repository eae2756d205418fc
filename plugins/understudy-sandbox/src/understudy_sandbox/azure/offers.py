"""What can be deployed where: skus, usage names, quotas, lifecycle of the base models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy_sandbox.azure.settings import TRAINS_IN
from understudy_sandbox.errors import ApiError

if TYPE_CHECKING:
    from understudy_sandbox.catalog import Catalog

# sku -> price tier of a fine-tune that it serves
SKUS = {
    "Standard": "regional",
    "GlobalStandard": "global",
    "DataZoneStandard": "datazone",
    "ProvisionedManaged": "regional",
    "GlobalBatch": "global",
    "DataZoneBatch": "datazone",
    "DeveloperTier": "developer",
}
BATCH = frozenset({"GlobalBatch", "DataZoneBatch"})
_FOR_TUNED = frozenset(SKUS) - BATCH
_FOR_BASE = frozenset(SKUS) - {"DeveloperTier"}


def split_base(base: str) -> tuple[str, str]:
    """Name and version of a base model: ``gpt-4o-mini``, ``2024-07-18``."""
    parts = base.split("-")
    dated = len(parts) > 3 and all(p.isdigit() for p in parts[-3:])
    return ("-".join(parts[:-3]), "-".join(parts[-3:])) if dated else (base, "1")


def join_base(name: str, version: str | None) -> str:
    """The catalog's name of a base model that ARM calls by name and version."""
    return name if version in (None, "", "1") else f"{name}-{version}"


def usage_name(sku: str, base: str, *, tuned: bool) -> str:
    """The quota's name: fine-tunes have their own."""
    return f"OpenAI.{sku}.{split_base(base)[0]}{'-finetune' if tuned else ''}"


def localized(sku: str, base: str, *, tuned: bool) -> str:
    """The quota's name as refusals say it."""
    what = f"{split_base(base)[0]}{' - finetune' if tuned else ''}"
    return f"Tokens Per Minute (thousands) - {what} - {sku}"


def fits_sku(sku: str, *, tuned: bool) -> bool:
    """Whether a kind of model is served under a sku; batch is for base models only."""
    return sku in (_FOR_TUNED if tuned else _FOR_BASE)


def no_quota(what: str, wanted: int, used: int, limit: int) -> ApiError:
    """ARM's refusal of capacity that the subscription does not have."""
    return ApiError(
        400,
        f"This operation require {wanted} new capacity in quota {what}, which is bigger than the "
        f"current available capacity {limit - used}. The current quota usage is {used} and the "
        f"quota limit is {limit} for quota {what}.",
        code="InsufficientQuota",
    )


def _instant(day: str) -> str:
    return f"{day}T00:00:00Z"


def model_view(catalog: Catalog, base: str, region: str, quota: int) -> dict[str, Any]:
    """A base model in ARM's list of models for one region."""
    name, version = split_base(base)
    ends = _instant(catalog.ends(base))
    trains = catalog.trains(base) and region in TRAINS_IN
    skus = [
        {
            "name": sku,
            "usageName": usage_name(sku, base, tuned=False),
            "deprecationDate": ends,
            "capacity": {"minimum": 1, "maximum": quota, "step": 1, "default": 10},
            "rateLimits": [{"key": "token", "renewalPeriod": 60, "count": 1000}],
        }
        for sku in sorted(_FOR_BASE)
    ]
    made: dict[str, Any] = {
        "format": "OpenAI",
        "name": name,
        "version": version,
        "isDefaultVersion": True,
        "skus": skus,
        "maxCapacity": 3,
        "capabilities": {
            "chatCompletion": "true",
            "inference": "true",
            "fineTune": "true" if trains else "false",
            "maxContextToken": "128000",
            "maxOutputToken": "16384",
        },
        "deprecation": {"inference": ends},
        "lifecycleStatus": "Deprecated" if catalog.is_retired(base) else "GenerallyAvailable",
        "systemData": {"createdBy": "understudy-sandbox", "createdByType": "Application"},
    }
    if catalog.trains(base):
        made["deprecation"]["fineTune"] = ends
    return made
