"""Deployments, dates and health over an ARM of this process: one request each, none waited for."""

from __future__ import annotations

from typing import Any

import pytest

from azure_kit import MODEL, TOKEN, TUNED, Manager, Wire, arm_backend, make_backend, wanted
from azure_kit import shown as shown_deployment
from openai_kit import JOBS
from understudy.errors import (
    AuthError,
    InvalidData,
    NotFound,
    OutcomeUnknown,
    QuotaError,
    RateLimited,
    Unavailable,
)
from understudy.model import Absent, Found, Handle, RemoteState

ONE = Handle(kind="deployment", id="unit-1", data={"sku": "DeveloperTier", "model": TUNED})
FOLLOW = {"Azure-AsyncOperation": "http://127.0.0.1:1/never-asked", "Retry-After": "30"}


def refused(status: int, code: str, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"code": code, "message": message}}


def test_a_deployment_is_one_put_and_nothing_is_waited_for(manager: Manager, deployer: Any) -> None:
    manager.on("PUT", "unit-1", (201, shown_deployment(state="Accepted"), FOLLOW))
    handle = deployer.start_deployment(wanted(), key="k-1")
    assert (handle.kind, handle.id) == ("deployment", "unit-1")
    assert handle.data["key"] == "k-1"
    assert [one[0] for one in manager.seen] == ["GET", "PUT"]
    _, path, sent, body = manager.seen[-1]
    assert path == (
        "/subscriptions/sub-1/resourceGroups/group-1/providers/Microsoft.CognitiveServices"
        "/accounts/unit/deployments/unit-1"
    )
    assert sent["Authorization"] == f"Bearer {TOKEN}"
    assert sent["api-version"] == "2025-09-01"
    assert body["sku"] == {"name": "DeveloperTier", "capacity": 50}
    assert body["tags"]["understudy_key"] == "k-1"
    assert deployer.tokens.scopes[-1] == "https://management.azure.com/.default"


def test_sku_capacity_and_source_are_as_asked(manager: Manager) -> None:
    source = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a"
    backend = arm_backend(manager, source=source)
    manager.on("PUT", "unit-1", (201, shown_deployment()))
    backend.start_deployment(wanted(sku="datazonestandard", capacity=7, purpose="serving"), key="k")
    body = manager.seen[-1][3]
    assert body["sku"] == {"name": "DataZoneStandard", "capacity": 7}
    assert body["properties"]["model"]["source"] == source
    backend.start_deployment(wanted(purpose="serving"), key="k")
    assert manager.seen[-1][3]["sku"]["name"] == "GlobalStandard"
    backend.close()


def test_a_deployment_of_this_key_is_not_put_again(manager: Manager, deployer: Any) -> None:
    manager.on("GET", "unit-1", (200, shown_deployment()))
    assert deployer.start_deployment(wanted(), key="k-1").id == "unit-1"
    assert manager.count("PUT") == 0


def test_a_name_that_is_taken_is_left_alone(manager: Manager, deployer: Any) -> None:
    manager.on("GET", "unit-1", (200, shown_deployment()))
    with pytest.raises(InvalidData, match="taken: it serves") as caught:
        deployer.start_deployment(wanted(), key="k-2")
    assert "made by worker@host" in str(caught.value)
    assert manager.count("PUT") == 0


@pytest.mark.parametrize("name", ["v1.2", "x"])
def test_a_bad_name_is_refused_before_anything_is_sent(
    manager: Manager, deployer: Any, name: str
) -> None:
    with pytest.raises(InvalidData, match="no dots"):
        deployer.start_deployment(wanted(name), key="k-1")
    with pytest.raises(InvalidData, match="cannot batch"):
        deployer.start_deployment(wanted(sku="globalbatch"), key="k-1")
    assert manager.seen == []


@pytest.mark.parametrize("reply", ["drop", refused(500, "InternalServerError", "It broke.")])
def test_a_lost_put_is_unknown_and_never_sent_again(
    manager: Manager, deployer: Any, reply: Any
) -> None:
    manager.on("PUT", "unit-1", reply)
    with pytest.raises(OutcomeUnknown):
        deployer.start_deployment(wanted(), key="k-1")
    assert manager.count("PUT") == 1
    manager.on("GET", "unit-1", (200, shown_deployment(state="Creating")))
    found = deployer.find_deployment(wanted(), key="k-1")
    assert isinstance(found, Found)
    assert found.handle.data["key"] == "k-1"
    assert deployer.find_deployment(wanted(), key="k-2") == Absent()


def test_no_provider_is_registered_behind_ones_back(manager: Manager, deployer: Any) -> None:
    manager.on("PUT", "unit-1", refused(409, "MissingSubscriptionRegistration", "Not registered."))
    with pytest.raises(OutcomeUnknown):
        deployer.start_deployment(wanted(), key="k-1")
    assert [one[0] for one in manager.seen] == ["GET", "PUT"]


def test_arm_cannot_be_reached(manager: Manager) -> None:
    backend = arm_backend(manager, arm_endpoint="http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="nothing was sent"):
        backend.start_deployment(wanted(), key="k-1")
    backend.close()


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (
            refused(403, "AuthorizationFailed", "may not perform action 'Microsoft.A/b/write'"),
            AuthError,
            "Cognitive Services Contributor",
        ),
        (refused(400, "InsufficientQuota", "50 new capacity in quota"), QuotaError, "capacity"),
        (refused(409, "InsufficientCapacity", "No capacity."), RateLimited, "another sku"),
        (refused(400, "InvalidResourceProperties", "SKU 'X' is not ..."), InvalidData, "sku"),
        (refused(409, "RequestConflict", "Another operation"), Unavailable, "tried again"),
        (refused(404, "ResourceGroupNotFound", "no group"), NotFound, "resource_group"),
        (
            (400, {"error": {"code": "BadRequest", "details": [{"code": "InsufficientQuota"}]}}),
            QuotaError,
            "capacity",
        ),
        ((400, b"<html>"), InvalidData, "HTTP 400"),
    ],
)
def test_refusals_of_a_put(
    manager: Manager, deployer: Any, reply: Any, kind: type[Exception], words: str
) -> None:
    manager.on("PUT", "unit-1", reply)
    with pytest.raises(kind, match=words):
        deployer.start_deployment(wanted(), key="k-1")
    assert manager.count("PUT") == 1


def test_looks_at_a_deployment(manager: Manager, deployer: Any) -> None:
    states = [(200, shown_deployment(state=raw)) for raw in ("Creating", "Succeeded")]
    manager.on("GET", "unit-1", *states, refused(404, "ResourceNotFound", "gone"))
    seen = [deployer.poll_deployment(ONE) for _ in range(3)]
    wanted_states = [RemoteState.RUNNING, RemoteState.SUCCEEDED, RemoteState.CANCELLED]
    assert [one.state for one in seen] == wanted_states
    assert seen[1].model == "unit-1"
    assert len(manager.seen) == 3


def test_a_missing_account_is_not_a_missing_deployment(manager: Manager, deployer: Any) -> None:
    manager.on("GET", "unit-1", refused(404, "SubscriptionNotFound", "no such subscription"))
    with pytest.raises(NotFound, match="subscription_id"):
        deployer.poll_deployment(ONE)


@pytest.mark.parametrize("reply", [(200, b"{"), "drop", refused(503, "", "")])
def test_trouble_of_a_look_is_unavailable(manager: Manager, deployer: Any, reply: Any) -> None:
    manager.on("GET", "unit-1", reply)
    with pytest.raises(Unavailable):
        deployer.poll_deployment(ONE)
    assert len(manager.seen) == 1


def test_a_rate_limit_says_how_long(manager: Manager, deployer: Any) -> None:
    manager.on("GET", "unit-1", (429, {}, {"Retry-After": "17"}))
    with pytest.raises(RateLimited) as caught:
        deployer.poll_deployment(ONE)
    assert caught.value.retry_after == 17


def test_scaling_puts_what_is_there_with_another_capacity(manager: Manager, deployer: Any) -> None:
    there = shown_deployment()
    there["properties"] |= {"raiPolicyName": "strict", "rateLimits": [], "currentCapacity": 50}
    there["properties"]["model"]["callRateLimit"] = {"count": 1}
    manager.on("GET", "unit-1", (200, there))
    manager.on("PUT", "unit-1", (200, there))
    deployer.scale_deployment(ONE, 80)
    assert manager.seen[-1][3] == {
        "sku": {"name": "DeveloperTier", "capacity": 80},
        "tags": there["tags"],
        "properties": {
            "model": {"format": "OpenAI", "name": TUNED, "version": "1"},
            "raiPolicyName": "strict",
        },
    }
    assert [one[0] for one in manager.seen] == ["GET", "PUT"]


def test_scaling_makes_nothing_that_is_gone(manager: Manager, deployer: Any) -> None:
    with pytest.raises(NotFound, match="Start it first"):
        deployer.scale_deployment(ONE, 80)
    assert manager.count("PUT") == 0


@pytest.mark.parametrize(
    "reply", [(202, None, FOLLOW), (204, None), refused(404, "ResourceNotFound", "gone")]
)
def test_stopping_is_one_delete_and_may_be_repeated(
    manager: Manager, deployer: Any, reply: Any
) -> None:
    manager.on("DELETE", "unit-1", reply)
    deployer.stop_deployment(ONE)
    deployer.stop_deployment(ONE)
    assert [one[0] for one in manager.seen] == ["DELETE", "DELETE"]


def test_stopping_where_the_account_is_gone_is_an_error(manager: Manager, deployer: Any) -> None:
    manager.on("DELETE", "unit-1", refused(404, "ResourceGroupNotFound", "no group"))
    with pytest.raises(NotFound):
        deployer.stop_deployment(ONE)


def test_the_list_is_read_to_its_end(manager: Manager, deployer: Any) -> None:
    after = f"{manager.url}/more/deployments?api-version=2025-09-01&page=2"
    theirs = {"name": "theirs", "properties": {"provisioningState": "Succeeded"}}
    first = {"value": [shown_deployment()], "nextLink": after}
    manager.on("GET", "deployments", (200, first), (200, {"value": [theirs]}))
    rows = list(deployer.list_deployments())
    assert [(row.name, row.key) for row in rows] == [("unit-1", "k-1"), ("theirs", None)]
    manager.on("GET", "deployments", refused(403, "AuthorizationFailed", "no"))
    with pytest.raises(AuthError):
        list(deployer.list_deployments())


def test_the_list_tells_who_rests_and_stands_without_that(manager: Manager, deployer: Any) -> None:
    manager.on("GET", "deployments", (200, {"value": [shown_deployment()]}))
    (row,) = deployer.list_deployments()
    assert (row.idle_since, row.deleted_at) == (None, row.created_at + 86_400)
    deployer.clock.time += 60
    manager.on("GET", "metrics", (200, {"value": []}))
    (row,) = deployer.list_deployments()
    assert row.idle_since == row.created_at
    _, path, sent, _ = manager.seen[-1]
    assert path.endswith("/accounts/unit/providers/Microsoft.Insights/metrics")
    assert (sent["metricnames"], sent["api-version"]) == ("AzureOpenAIRequests", "2024-02-01")


def test_an_empty_account_is_not_asked_for_its_metrics(manager: Manager, deployer: Any) -> None:
    manager.on("GET", "deployments", (200, {"value": []}))
    assert list(deployer.list_deployments()) == []
    assert len(manager.seen) == 1


def test_a_refused_token_is_forgotten(manager: Manager, deployer: Any) -> None:
    manager.on("GET", "unit-1", refused(401, "ExpiredAuthenticationToken", "expired"))
    with pytest.raises(Unavailable, match="new token"):
        deployer.poll_deployment(ONE)
    assert deployer.tokens.forgotten == 1
    assert len(manager.seen) == 1


def test_an_echoed_token_is_not_in_the_message(manager: Manager, deployer: Any) -> None:
    manager.on("GET", "unit-1", refused(401, "InvalidAuthenticationToken", f"bad: {TOKEN}"))
    with pytest.raises(AuthError) as caught:
        deployer.poll_deployment(ONE)
    assert TOKEN not in f"{caught.value} {caught.value!r}"


def test_without_an_account_nothing_is_deployed() -> None:
    backend = make_backend()
    with pytest.raises(InvalidData, match="subscription_id and resource_group"):
        backend.start_deployment(wanted(), key="k-1")
    backend.close()


MODELS = {
    "value": [
        {
            "name": "gpt-4o-mini",
            "version": "2024-07-18",
            "capabilities": {"fineTune": "true"},
            "deprecation": {"fineTune": "2027-04-14T00:00:00Z"},
        }
    ]
}


def test_dates_from_arm_in_one_request(manager: Manager, deployer: Any) -> None:
    manager.on("GET", "models", (200, MODELS))
    assert deployer.lifecycle(MODEL).training_until == "2027-04-14"
    assert len(manager.seen) == 1
    with pytest.raises(NotFound, match="base_model and the region"):
        deployer.lifecycle("gpt-9")


def healthy(manager: Manager, wire: Wire) -> None:
    wire.on("GET", JOBS, {"data": [], "has_more": False})
    manager.on("GET", "unit", (200, {"name": "unit", "location": "swedencentral"}))
    manager.on("GET", "permissions", (200, {"value": [{"actions": ["*"], "notActions": []}]}))
    manager.on("GET", "models", (200, MODELS))
    manager.on("GET", "metrics", (200, {"value": []}))
    name = {"value": "OpenAI.DeveloperTier.gpt-4o-mini-finetune"}
    manager.on("GET", "usages", (200, {"value": [{"name": name, "currentValue": 0, "limit": 90}]}))


NAMES = [
    "endpoint",
    "key",
    "API version",
    "fine-tuning jobs",
    "ARM account",
    "region",
    "deployments role",
    "base models",
    "usage metrics",
    "quota",
]


def test_doctor_looks_at_all_of_it(manager: Manager, deployer: Any) -> None:
    healthy(manager, deployer.wire)
    checks = list(deployer.doctor())
    assert [check.name for check in checks] == NAMES
    assert all(check.ok for check in checks)
    assert MODEL in next(check for check in checks if check.name == "base models").detail


@pytest.mark.parametrize(
    ("last", "reply", "name", "fix"),
    [
        ("unit", refused(403, "AuthorizationFailed", "no"), "ARM account", "Contributor"),
        ("unit", (200, {"location": "westus3"}), "region", "set region to westus3"),
        ("permissions", (200, {"value": [{"actions": ["*/read"]}]}), "deployments role", "assign"),
        ("models", (200, {"value": []}), "base models", "region"),
        ("metrics", refused(403, "AuthorizationFailed", "no"), "usage metrics", "Contributor"),
        ("usages", refused(403, "AuthorizationFailed", "no"), "quota", "Usages Reader"),
    ],
)
def test_doctor_says_what_to_grant(
    manager: Manager, last: str, reply: Any, name: str, fix: str
) -> None:
    backend = arm_backend(manager, region="Sweden Central")
    healthy(manager, backend.wire)
    manager.on("GET", last, reply)
    ill = {check.name: check for check in backend.doctor() if not check.ok}
    assert fix in ill[name].fix
    backend.close()


def test_doctor_says_where_quota_is_short(manager: Manager) -> None:
    backend = arm_backend(manager, capacity=91)
    healthy(manager, backend.wire)
    (ill,) = [check for check in backend.doctor() if not check.ok]
    assert (ill.name, "DeveloperTier (wanted 91)" in ill.detail) == ("quota", True)
    backend.close()
