"""The kinds of fault that only Azure has, each named ``azure_...``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from understudy_sandbox.azure.offers import no_quota
from understudy_sandbox.azure.settings import CLIENT_ID, OBJECT_ID
from understudy_sandbox.errors import ApiError

if TYPE_CHECKING:
    from starlette.requests import Request

    from understudy_sandbox.azure.deployments import Deployments
    from understudy_sandbox.faults import Rule

_SERVICE = "Microsoft.CognitiveServices/accounts"
_ACTIONS = {
    "arm.deployments.create_or_update": f"{_SERVICE}/deployments/write",
    "arm.deployments.get": f"{_SERVICE}/deployments/read",
    "arm.deployments.list": f"{_SERVICE}/deployments/read",
    "arm.deployments.delete": f"{_SERVICE}/deployments/delete",
    "arm.accounts.get": f"{_SERVICE}/read",
    "arm.accounts.list_models": f"{_SERVICE}/models/read",
    "arm.accounts.list_usages": f"{_SERVICE}/usages/read",
    "arm.models.list": "Microsoft.CognitiveServices/locations/models/read",
    "arm.usages.list": "Microsoft.CognitiveServices/locations/usages/read",
    "arm.metrics.list": "Microsoft.Insights/metrics/read",
}
_TIMES = ("created_at", "finished_at", "estimated_finish")


def _no_role(request: Request, operation: str) -> ApiError | None:
    if operation == "arm.permissions.list":
        return None  # anyone may ask what he may not do: see ``reshaped``
    if not operation.startswith("arm."):
        return ApiError(
            401,
            f"The principal `{OBJECT_ID}` lacks the required data action "
            f"`{_SERVICE}/OpenAI/{operation.replace('.', '/')}/action` to perform "
            f"`{request.method} {request.url.path}` operation.",
            code="PermissionDenied",
        )
    action = _ACTIONS.get(operation, f"{_SERVICE}/read")
    return ApiError(
        403,
        f"The client '{CLIENT_ID}' with object id '{OBJECT_ID}' does not have authorization to "
        f"perform action '{action}' over scope '{request.url.path}' or the scope is invalid. If "
        "access was recently granted, please refresh your credentials.",
        code="AuthorizationFailed",
    )


def _content_filter() -> ApiError:
    verdict: dict[str, Any] = {
        kind: {
            "filtered": kind == "violence",
            "severity": "medium" if kind == "violence" else "safe",
        }
        for kind in ("hate", "self_harm", "sexual", "violence")
    }
    return ApiError(
        400,
        "The response was filtered due to the prompt triggering the content management policy of "
        "the service. Modify the prompt and try again.",
        param="prompt",
        code="content_filter",
        more={
            "type": None,
            "param": "prompt",
            "status": 400,
            "innererror": {
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": verdict,
            },
        },
    )


def _expired(operation: str) -> ApiError:
    code = "ExpiredAuthenticationToken" if operation.startswith("arm.") else "401"
    return ApiError(401, "The access token has expired. Ask for a new one.", code=code)


def preset(rule: Rule, request: Request, operation: str) -> ApiError | None:
    """The refusal that a rule stands for, or None."""
    if rule.do == "azure_no_role":
        return _no_role(request, operation)
    if rule.do == "azure_content_filter":
        return _content_filter()
    if rule.do == "azure_expired_token":
        return _expired(operation)
    if rule.do == "azure_quota":
        return no_quota(rule.model or "Tokens Per Minute (thousands) - gpt-4o-mini", 10, 500, 500)
    if rule.do == "azure_no_capacity":
        return ApiError(
            409,
            rule.message
            or "The service has no capacity left for this model and sku in this region at the "
            "moment. Try again later, another sku or another region.",
            code=rule.code or "InsufficientCapacity",
        )
    return None


def mark(deployments: Deployments, rule: Rule, name: str) -> None:
    """Give a deployment its fate; ``name`` is the id that the reply shows."""
    parts = name.lower().split("/")
    if "deployments" not in parts:
        return
    key = f"{parts[parts.index('accounts') + 1]}/{parts[-1]}"
    if rule.do == "azure_deploy_fails":
        failure = {
            "code": rule.code or "InternalServerError",
            "message": rule.message or "The deployment could not be provisioned. Make it again.",
        }
        deployments.force(key, fails_after=rule.seconds, failure=failure)
    if rule.do == "list_lag":
        deployments.hide(key, rule.seconds)


def _instant(seconds: Any) -> Any:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if isinstance(seconds, int) else seconds


def _each(body: dict[str, Any], change: Any) -> dict[str, Any]:
    if isinstance(body.get("data"), list):
        return {**body, "data": [change(item) for item in body["data"]]}
    return dict(change(body))


def _dated(item: dict[str, Any]) -> dict[str, Any]:
    return {k: _instant(v) if k in _TIMES else v for k, v in item.items()}


def _negative(item: dict[str, Any]) -> dict[str, Any]:
    tokens = item.get("trained_tokens")
    return {**item, "trained_tokens": -tokens} if tokens else item


def _cased(item: dict[str, Any]) -> dict[str, Any]:
    status = str(item.get("status", ""))
    camel = "".join(word.capitalize() for word in status.split("_"))
    return {**item, "status": camel} if "status" in item else item


def reshaped(rule: Rule, body: dict[str, Any]) -> dict[str, Any] | None:
    """The reply's body as the rule bends it, or None where the rule bends none."""
    if rule.do == "azure_iso_dates":
        return _each(body, _dated)
    if rule.do == "azure_negative_tokens":
        return _each(body, _negative)
    if rule.do == "azure_status_case":
        return _each(body, _cased)
    if rule.do == "azure_value_lists" and isinstance(body.get("data"), list):
        return {"value": body["data"]}
    if rule.do == "azure_no_role" and isinstance(body.get("value"), list):
        return {"value": [{**v, "actions": ["*/read"]} for v in body["value"]]}
    return None
