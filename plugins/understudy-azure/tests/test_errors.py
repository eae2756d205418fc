"""What Azure refuses, and the setting or role that each message names."""

from __future__ import annotations

import re

import pytest

from understudy.errors import (
    AuthError,
    BackendError,
    InvalidData,
    NotFound,
    OutcomeUnknown,
    QuotaError,
    RateLimited,
    Unavailable,
)
from understudy_azure.wire_errors import RULES, action, to_azure_error, token_error
from understudy_openai import Failure

WRITE = "Microsoft.CognitiveServices/accounts/deployments/write"
NO_DATA_ROLE = (
    "The principal x lacks the required data action "
    "Microsoft.CognitiveServices/accounts/OpenAI/fine-tunes/write to perform it."
)
NO_QUOTA = (
    "This operation require 50 new capacity in quota Tokens Per Minute (thousands), which is "
    "bigger than the current available capacity 0."
)
REFUSALS: list[tuple[int, str, str, type[BackendError], str]] = [
    (401, "ExpiredAuthenticationToken", "The access token expiry is past.", Unavailable, "new tok"),
    (401, "401", "The access token has expired.", Unavailable, "new token"),
    (
        401,
        "InvalidAuthenticationTokenTenant",
        "The access token is from the wrong issuer.",
        AuthError,
        "tenant_id",
    ),
    (400, "", "Token tenant a does not match resource tenant.", AuthError, "tenant_id"),
    (
        403,
        "AuthenticationTypeDisabled",
        "Key based authentication is disabled",
        AuthError,
        "auth =",
    ),
    (
        403,
        "AccessDenied",
        "Access denied due to Virtual Network/Firewall rules.",
        AuthError,
        "netw",
    ),
    (
        401,
        "PermissionDenied",
        NO_DATA_ROLE,
        AuthError,
        "Cognitive Services OpenAI Contributor",
    ),
    (
        403,
        "AuthorizationFailed",
        f"The client 'x' does not have authorization to perform action '{WRITE}' over scope 's'.",
        AuthError,
        "Cognitive Services Contributor",
    ),
    (
        401,
        "401",
        "Access denied due to invalid subscription key or wrong API endpoint.",
        AuthError,
        "AZURE_OPENAI_API_KEY",
    ),
    (
        404,
        "DeploymentNotFound",
        "The API deployment for this resource does not exist.",
        NotFound,
        "deployments in the settings",
    ),
    (400, "", "Unrecognized request argument supplied: method", InvalidData, "api_version"),
    (
        400,
        "invalidPayload",
        "The field 'method' is not known to api-version 2023-05-15.",
        InvalidData,
        "api_version",
    ),
    (404, "UnsupportedApiVersion", "", InvalidData, "arm_api_version"),
    (400, "NoRegisteredProviderFound", "", InvalidData, "arm_api_version"),
    (
        400,
        "invalidPayload",
        "The specified base model does not support fine-tuning.",
        InvalidData,
        "training_type",
    ),
    (429, "quotaExceeded", "The resource has 20 jobs waiting.", RateLimited, "queues 20"),
    (400, "", "The limit of 3 running fine-tuning jobs is reached.", RateLimited, "3 jobs"),
    (429, "429", "Requests have exceeded the call rate limit.", RateLimited, "ask again"),
    (400, "quotaExceeded", "The number of files is over the maximum.", QuotaError, "delete old"),
    (400, "jsonlValidationFailed", "Line 3 is not valid.", InvalidData, "rows"),
    (
        400,
        "QuotaExceeded",
        "The resource has 10 fine-tuned deployments, the maximum.",
        QuotaError,
        "--idle",
    ),
    (503, "InsufficientCapacity", "No capacity in swedencentral.", RateLimited, "another sku"),
    (
        400,
        "InsufficientQuota",
        NO_QUOTA,
        QuotaError,
        "smaller capacity",
    ),
    (400, "DeploymentModelNotSupported", "The model is not supported.", InvalidData, "source"),
    (400, "", "The model is not available in region westus3.", InvalidData, "source"),
    (
        400,
        "InvalidResourceProperties",
        "The specified SKU 'Gold' of account deployment is not supported by the model.",
        InvalidData,
        "evaluation_sku",
    ),
    (409, "Conflict", "The deployment 'a' exists with the model 'b'.", InvalidData, "another name"),
    (409, "RequestConflict", "Another operation is being performed.", Unavailable, "tried again"),
    (404, "404", "Resource not found", NotFound, "surface"),
    (
        404,
        "ResourceGroupNotFound",
        "Resource group 'g' could not be found.",
        NotFound,
        "resource_g",
    ),
]


def raised(status: int, code: str, message: str, *, paid: bool = True) -> BackendError:
    failure = Failure(kind="status", status=status, code=code or None, message=message)
    return to_azure_error(failure, what="do it", paid=paid)


@pytest.mark.parametrize(("status", "code", "message", "kind", "words"), REFUSALS)
def test_each_refusal_names_what_to_change(
    status: int, code: str, message: str, kind: type[BackendError], words: str
) -> None:
    error = raised(status, code, message)
    assert type(error) is kind, error
    assert words in str(error)
    assert error.status == status
    assert str(error).startswith("could not do it: HTTP")


def test_every_rule_has_a_refusal_here() -> None:
    hit = set()
    for status, code, message, *_ in REFUSALS:
        failure = Failure(kind="status", status=status, code=code or None, message=message)
        hit.add(next((rule.name for rule in RULES if rule.applies(failure)), ""))
    assert {rule.name for rule in RULES} <= hit


def test_a_missing_role_names_the_action() -> None:
    message = f"The client does not have authorization to perform action '{WRITE}' over scope 's'."
    assert action(message) == WRITE
    assert WRITE in str(raised(403, "AuthorizationFailed", message))


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503])
def test_trouble_without_a_known_reason_leaves_a_paid_request_open(status: int) -> None:
    assert isinstance(raised(status, "", "Something broke."), OutcomeUnknown)
    assert isinstance(raised(status, "", "Something broke.", paid=False), Unavailable)


def test_the_wait_of_a_full_queue_is_kept() -> None:
    failure = Failure(
        kind="status",
        status=429,
        code="quotaExceeded",
        message="20 jobs are waiting",
        retry_after=60.0,
    )
    error = to_azure_error(failure, what="create", paid=True)
    assert isinstance(error, RateLimited)
    assert error.retry_after == 60.0


def test_secrets_and_rows_are_kept_out() -> None:
    failure = Failure(
        kind="status",
        status=400,
        code="jsonlValidationFailed",
        message='Bad row {"messages": "my cat"} at https://b/f?sig=planted with Bearer tok-planted',
    )
    said = str(to_azure_error(failure, what="create", paid=True, secrets=("tok-planted",)))
    assert not re.search("planted|my cat", said)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("AADSTS90002: Tenant 'x' not found.", "tenant_id"),
        ("AADSTS700016: Application with identifier 'x' was not found", "client_id"),
        ("AADSTS7000215: Invalid client secret provided.", "AZURE_CLIENT_SECRET"),
        ("AADSTS7000222: The provided client secret keys are expired.", "expired"),
        ("AADSTS700213: No matching federated identity record found", "federated credential"),
        ("AADSTS500011: The resource principal was not found", "arm_scope"),
        ("AADSTS99999999: Unheard of.", "Check credential"),
    ],
)
def test_what_entra_id_refuses_names_the_setting(text: str, words: str) -> None:
    error = token_error(text, name="azure", absent=False, status=401, secrets=("x-planted",))
    assert isinstance(error, AuthError)
    assert words in str(error)
    assert error.code == re.match(r"AADSTS\d+", text)[0]  # type: ignore[index]


def test_no_credential_at_all() -> None:
    error = token_error("nothing found", name="azure", absent=True, status=None, secrets=())
    assert "az login" in str(error)
    busy = token_error("busy", name="azure", absent=False, status=503, secrets=())
    assert isinstance(busy, Unavailable)
