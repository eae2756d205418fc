"""Resources as Azure Resource Manager shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from understudy_sandbox.azure.deployments import state_of
from understudy_sandbox.azure.settings import OBJECT_ID, RESOURCE_GROUP, SUBSCRIPTION

if TYPE_CHECKING:
    from understudy_sandbox.state import Doc

_TYPE = "Microsoft.CognitiveServices/accounts"


def account_id(account: str) -> str:
    """The resource id of an account."""
    return (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}/providers/{_TYPE}/{account}"
    )


def _instant(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat().replace("+00:00", "Z")


def deployment_view(doc: Doc, now: float) -> Doc:
    """A deployment with its provisioning state."""
    by = {"createdBy": OBJECT_ID, "createdByType": "Application"}
    changed = {"lastModifiedBy": OBJECT_ID, "lastModifiedByType": "Application"}
    return {
        "id": f"{account_id(doc['account'])}/deployments/{doc['name']}",
        "type": f"{_TYPE}/deployments",
        "name": doc["name"],
        "sku": {"name": doc["sku"], "capacity": doc["capacity"]},
        "properties": {
            "model": doc["model"],
            "versionUpgradeOption": "NoAutoUpgrade"
            if doc["tuned"]
            else "OnceNewDefaultVersionAvailable",
            "capabilities": {"chatCompletion": "true"},
            "provisioningState": state_of(doc, now),
            "currentCapacity": doc["capacity"],
            "rateLimits": [
                {"key": "token", "renewalPeriod": 60, "count": doc["capacity"] * 1000},
                {"key": "request", "renewalPeriod": 10, "count": doc["capacity"]},
            ],
        },
        "systemData": {
            **by,
            "createdAt": _instant(doc["created"]),
            **changed,
            "lastModifiedAt": _instant(doc["modified"]),
        },
        "etag": f'"{int(doc["modified"] * 1000):x}"',
        "tags": doc["tags"],
    }


def account_view(name: str, region: str, endpoint: str) -> Doc:
    """A resource: where it is and where it answers."""
    return {
        "id": account_id(name),
        "type": _TYPE,
        "name": name,
        "kind": "OpenAI",
        "location": region,
        "sku": {"name": "S0"},
        "properties": {
            "endpoint": endpoint,
            "endpoints": {"OpenAI Language Model Instance API": endpoint},
            "provisioningState": "Succeeded",
            "customSubDomainName": name,
            "publicNetworkAccess": "Enabled",
        },
        "tags": {},
    }
