"""What Azure says when it refuses, and which setting or role to change: one table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from understudy.errors import (
    AuthError,
    BackendError,
    InvalidData,
    NotFound,
    QuotaError,
    RateLimited,
    Unavailable,
)
from understudy_openai import Failure, redact, to_error

__all__ = ["RULES", "Rule", "action", "is_expired", "to_azure_error", "token_error"]

_ACTION = re.compile(r"Microsoft\.[A-Za-z]+(?:/[A-Za-z\-]+){1,6}")
DATA_ROLE = "Cognitive Services OpenAI Contributor"
ARM_ROLE = "Cognitive Services Contributor"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One kind of refusal.

    ``codes`` (any letter case) or ``words`` tell it; ``statuses`` narrow it. ``fix`` may name
    ``{action}`` and ``{data_role}``, ``{arm_role}``.
    """

    name: str
    error: type[BackendError]
    fix: str
    codes: tuple[str, ...] = ()
    words: str = ""
    statuses: tuple[int, ...] = ()

    def applies(self, failure: Failure) -> bool:
        """Whether this is what happened."""
        if self.statuses and failure.status not in self.statuses:
            return False
        if (failure.code or "").lower() in {code.lower() for code in self.codes}:
            return True
        return (
            bool(self.words) and re.search(self.words, failure.message, re.IGNORECASE) is not None
        )


RULES: tuple[Rule, ...] = (
    # The first that applies counts. All of them are refusals: nothing took effect.
    Rule(
        name="expired token",
        error=Unavailable,
        codes=("ExpiredAuthenticationToken",),
        words=r"token.{0,40}\bexpired|expired.{0,20}token|lifetime validation failed",
        statuses=(401,),
        fix="A new token is fetched at the next try.",
    ),
    Rule(
        name="wrong tenant",
        error=AuthError,
        codes=("InvalidAuthenticationTokenTenant", "InvalidTenant"),
        words=r"tenant.{0,80}(?:does not|doesn't|must) match|wrong issuer",
        statuses=(400, 401, 403),
        fix="Set tenant_id to the tenant of the subscription that holds the resource.",
    ),
    Rule(
        name="keys turned off",
        error=AuthError,
        codes=("AuthenticationTypeDisabled",),
        statuses=(401, 403),
        fix="The resource takes no keys: set auth = 'token' and a credential.",
    ),
    Rule(
        name="firewall",
        error=AuthError,
        words=r"virtual network|firewall|public (?:network )?access is disabled",
        statuses=(401, 403),
        fix="Allow this machine in the resource's networking, or use its private endpoint.",
    ),
    Rule(
        name="missing role on the data plane",
        error=AuthError,
        codes=("PermissionDenied",),
        words=r"lacks the required data action|does not have access to the data plane",
        statuses=(401, 403),
        fix="Assign the role {data_role} on the resource{action}, then wait some minutes.",
    ),
    Rule(
        name="missing role in ARM",
        error=AuthError,
        codes=("AuthorizationFailed", "LinkedAuthorizationFailed"),
        statuses=(401, 403),
        fix="Assign the role {arm_role} on the resource{action}, then wait some minutes.",
    ),
    Rule(
        name="wrong key",
        error=AuthError,
        words=r"invalid subscription key|wrong api endpoint",
        statuses=(401,),
        fix="AZURE_OPENAI_API_KEY must be a key of the resource that endpoint names; a token must "
        "be for data_scope and of a principal with the role {data_role}.",
    ),
    Rule(
        name="deployment not found",
        error=NotFound,
        codes=("DeploymentNotFound",),
        statuses=(404,),
        fix="Deploy the model, or name its deployment under deployments in the settings.",
    ),
    Rule(
        name="API version too old for a field",
        error=InvalidData,
        codes=("UnrecognizedField", "unknown_parameter"),
        words=r"unrecogni[sz]ed|unknown (?:request |body )?(?:argument|field|parameter|property)"
        r"|additional properties|not known to api-?version",
        statuses=(400, 422),
        fix="The service does not know a field that was sent: set api_version to "
        "2025-04-01-preview or later, or surface = 'v1'.",
    ),
    Rule(
        name="API version not served",
        error=InvalidData,
        codes=("UnsupportedApiVersion", "InvalidApiVersionParameter", "NoRegisteredProviderFound"),
        words=r"api[- ]?version.{0,80}(?:not supported|unsupported|invalid|not found|not valid)"
        r"|(?:unsupported|invalid) api[- ]?version",
        statuses=(400, 404),
        fix="Set api_version (data plane) or arm_api_version (ARM) to one that is served.",
    ),
    Rule(
        name="not trained in this tier",
        error=InvalidData,
        words=r"does not support fine-?\s?tun|fine-?\s?tuning is not (?:supported|available)",
        statuses=(400, 403, 404),
        fix="Azure says this too where training_type is missing or not offered for the model in "
        "this region: check base_model, training_type and region; `understudy doctor azure` "
        "lists what can be trained there.",
    ),
    Rule(
        name="the service's queue is full",
        error=RateLimited,
        codes=("TooManyActiveJobs", "JobQuotaExceeded"),
        words=r"(?:running|queued|active|pending|concurrent|simultaneous)\b.{0,40}\b(?:job|fine)"
        r"|\bjobs?\b.{0,60}\b(?:wait|limit|maximum|at once|already (?:running|queued))",
        statuses=(400, 403, 409, 429),
        fix="Azure runs 3 jobs of a resource at once (5 in the developer tier) and queues 20: it "
        "is sent again when there is room.",
    ),
    Rule(
        name="too many files",
        error=QuotaError,
        words=r"\bfiles?\b.{0,80}\b(?:limit|quota|maximum)|(?:limit|quota|maximum).{0,60}\bfiles?\b",
        statuses=(400, 403, 409, 429),
        fix="A resource keeps 100 files and 1 GB: delete old ones.",
    ),
    Rule(
        name="rows refused",
        error=InvalidData,
        codes=("jsonlValidationFailed", "contentFilter", "fileImportFailed", "unsafe_file"),
        fix="Correct or drop the rows, and run it again.",
        statuses=(400, 422),
    ),
    Rule(
        name="too many fine-tuned deployments",
        error=QuotaError,
        codes=("DeploymentLimitExceeded", "MaxDeploymentsReached"),
        words=r"deployments?\b.{0,80}\b(?:maximum|limit)|(?:maximum|limit)\b.{0,80}\bdeployments?",
        fix="Take idle deployments down: understudy deployments list --idle 7d.",
        statuses=(400, 403, 409, 429),
    ),
    Rule(
        name="no capacity",
        error=RateLimited,
        codes=(
            "InsufficientCapacity",
            "NoCapacity",
            "OutOfCapacity",
            "CapacityNotAvailable",
            "InsufficientResources",
        ),
        words=r"(?:no|insufficient|not enough|out of) (?:available )?capacity\b",
        fix="The region has none free: it is tried again; another sku or region may have some.",
    ),
    Rule(
        name="quota used up",
        error=QuotaError,
        codes=("InsufficientQuota", "QuotaExceeded", "SpecialFeatureOrQuotaIdRequired"),
        words=r"available (?:capacity|quota)|new capacity in quota|exceed\w* .{0,40}quota",
        statuses=(400, 403, 409),
        fix="Set a smaller capacity, free some by scaling other deployments, or ask for quota of "
        "that sku in the region.",
    ),
    Rule(
        name="unknown sku",
        error=InvalidData,
        codes=("InvalidSku", "SkuNotSupported", "SkuNotAvailable", "InvalidResourceProperties"),
        words=r"\bsku\b.{0,120}\b(?:not|invalid|unknown)|\b(?:invalid|unknown)\b.{0,60}\bsku\b",
        statuses=(400, 404, 409),
        fix="Set the sku (deployment.evaluation_sku in a recipe, --sku) to one that the model has "
        "in this region, such as Standard, GlobalStandard, DataZoneStandard or DeveloperTier.",
    ),
    Rule(
        name="wrong region",
        error=InvalidData,
        codes=("LocationNotAvailableForResourceType", "DeploymentModelNotSupported"),
        words=r"not (?:available|supported).{0,40}\b(?:region|location)\b"
        r"|\bmodel\b.{0,200}account deployment is not supported",
        statuses=(400, 403, 404, 409),
        fix="The model is not in this account's region: set source to the ARM id of the account "
        "where it was trained, or use an account in a region that offers it.",
    ),
    Rule(
        name="name taken",
        error=InvalidData,
        words=r"exists with (?:the|another) model",
        statuses=(409,),
        fix="Choose another name, or take that deployment down first.",
    ),
    Rule(
        name="busy",
        error=Unavailable,
        codes=("RequestConflict", "AnotherOperationInProgress", "AccountProvisioningStateInvalid"),
        words=r"another operation|provisioning ?state.{0,60}(?:accepted|creating|deleting|moving)",
        statuses=(400, 409, 412),
        fix="It is busy with an earlier request: it is tried again.",
    ),
    Rule(
        name="no such path",
        error=NotFound,
        words=r"^resource not found\.?$",
        statuses=(404,),
        fix="Check endpoint, surface and api_version: that address is not served.",
    ),
    Rule(
        name="no such resource",
        error=NotFound,
        codes=(
            "ResourceNotFound",
            "ResourceGroupNotFound",
            "SubscriptionNotFound",
            "ParentResourceNotFound",
            "InvalidSubscriptionId",
        ),
        fix="Check subscription_id, resource_group and account.",
        statuses=(400, 404),
    ),
)


def action(message: str) -> str | None:
    """The permission that a refusal names: ``Microsoft.X/accounts/deployments/write``."""
    found = _ACTION.search(message)
    return found[0] if found else None


def is_expired(failure: Failure) -> bool:
    """Whether the token was good once."""
    return RULES[0].applies(failure)


def to_azure_error(
    failure: Failure, *, what: str, paid: bool, secrets: Iterable[str] = ()
) -> BackendError:
    """The error for ``failure``: what Azure says in its own way, else as on OpenAI's wire.

    Args:
        failure: the facts.
        what: what was being done to what.
        paid: the request starts paid work, so a doubtful outcome is ``OutcomeUnknown``.
        secrets: strings to keep out of the message.
    """
    secrets = tuple(secrets)
    rule = next((row for row in RULES if row.applies(failure)), None)
    if failure.kind != "status" or (failure.status or 0) < 400 or rule is None:
        return to_error(failure, what=what, paid=paid, secrets=secrets)
    needed = action(failure.message)
    fix = rule.fix.format(
        action=f" (it allows {needed})" if needed else "", data_role=DATA_ROLE, arm_role=ARM_ROLE
    )
    words = redact(failure.message, secrets).rstrip(" .")
    code = redact(failure.code or "", secrets, limit=80) or None
    answered = f"HTTP {failure.status}" + (f" ({code})" if code else "")
    said = f"could not {what}: {answered}" + (f": {words}" if words else "")
    error = rule.error(f"{said}. {fix}", code=code, status=failure.status)
    if isinstance(error, RateLimited):
        error.retry_after = failure.retry_after
    return error


# -- tokens ------------------------------------------------------------------------------------

_TOKEN_FIXES: Mapping[str, str] = {
    # Codes of Entra ID (AADSTS...), and what to do about each.
    "90002 900023 50020 90099 700005": "Set tenant_id to a tenant that exists.",
    "700016 90013 7000112": "Set client_id and tenant_id: the tenant does not know the application "
    "or has disabled it.",
    "7000215": "Set AZURE_CLIENT_SECRET to the secret's value, not its id.",
    "7000222": "The client secret has expired: make a new one and set AZURE_CLIENT_SECRET.",
    "70021 700211 700212 700213 700024": "Add a federated credential for this workload to the "
    "application, or set client_id to the one that has it.",
    "500011 650057": "Set data_scope or arm_scope to a resource of that tenant.",
}
_NO_CREDENTIAL = (
    "Set credential to workload, managed or service-principal with its tenant_id, client_id and "
    "secret, or sign in with `az login`."
)


def token_error(
    text: str, *, name: str, absent: bool, status: int | None, secrets: Iterable[str]
) -> BackendError:
    """Why there is no token, from the words of azure-identity.

    Args:
        text: its words.
        name: the backend's name.
        absent: there is no credential at all, rather than a refused one.
        status: HTTP status of the refusal, if there was one.
        secrets: strings to keep out of the message.
    """
    code = re.search(r"AADSTS(\d+)", text)
    known = (fix for codes, fix in _TOKEN_FIXES.items() if code and code[1] in codes.split())
    words = redact(text.splitlines()[0] if text else "", secrets, limit=200).rstrip(" .")
    said = f"backend {name!r}: no token of Entra ID: {words}"
    if status is not None and (status == 429 or status >= 500):
        return Unavailable(f"{said}. It is tried again.", status=status)
    default = _NO_CREDENTIAL if absent else "Check credential, tenant_id, client_id and its secret."
    found = code[0] if code else None
    return AuthError(f"{said}. {next(known, default)}", code=found, status=status)
