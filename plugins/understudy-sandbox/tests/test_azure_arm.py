"""Deployments through Resource Manager: states, refusals, hosting, and what time takes away."""

from __future__ import annotations

from decimal import Decimal

import openai
import pytest

from azure_face_kit import ACCOUNTS, ASK, LOCATIONS
from understudy_sandbox.azure.settings import ACCOUNT, DAY

WEST = f"{ACCOUNT}-west"
BASE = {"model": "gpt-4o-mini", "version": "2024-07-18"}


def test_a_deployment_is_accepted_creating_and_succeeded(azure, azure_job) -> None:
    made = azure.put("shop", azure_job.fine_tuned_model, tags={"owner": "o", "delete_by": "d"})
    assert made.status_code == 201
    assert made.json()["properties"]["provisioningState"] == "Accepted"
    assert made.json()["tags"] == {"owner": "o", "delete_by": "d"}
    with pytest.raises(openai.NotFoundError) as early:
        azure.classic.chat.completions.create(model="shop", messages=ASK)
    assert early.value.code == "DeploymentNotFound"
    assert "within the last 5 minutes" in early.value.message
    azure.sandbox.advance(10)
    assert azure.state("shop") == "Creating"
    operation = made.headers["azure-asyncoperation"].split("?")[0]
    path = operation.removeprefix(azure.sandbox.tls_url)
    assert azure.arm("GET", path).json()["status"] == "Creating"
    azure.sandbox.advance(25)
    assert azure.state("shop") == "Succeeded"
    assert azure.arm("GET", path).json()["status"] == "Succeeded"
    answer = azure.classic.chat.completions.create(model="shop", messages=ASK)
    again = azure.v1.chat.completions.create(model="shop", messages=ASK, stream=True)
    said = "".join(c.choices[0].delta.content or "" for c in again if c.choices)
    assert said == answer.choices[0].message.content
    assert answer.to_dict()["prompt_filter_results"][0]["prompt_index"] == 0
    assert answer.to_dict()["choices"][0]["content_filter_results"]
    azure.drop("shop")
    assert azure.state("shop") is None
    assert azure.arm("DELETE", f"{ACCOUNTS}/{ACCOUNT}/deployments/shop").status_code == 204


def test_the_same_put_again_rescales_and_another_model_is_a_conflict(azure, azure_job) -> None:
    model = azure_job.fine_tuned_model
    azure.deploy("again", model)
    assert azure.put("again", model).status_code == 200
    changed = azure.put("again", model, sku="Standard", capacity=7).json()
    assert changed["sku"] == {"name": "Standard", "capacity": 7}
    taken = azure.put("again", **BASE)
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "Conflict")
    azure.drop("again")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"sku": "Fancy"}, "InvalidResourceProperties"),
        ({"sku": "DeveloperTier"}, "InvalidResourceProperties"),
        ({"capacity": 501}, "InsufficientQuota"),
        ({"model": "gpt-99"}, "DeploymentModelNotSupported"),
    ],
)
def test_what_cannot_be_deployed_is_refused_with_azures_code(azure, more, code) -> None:
    refused = azure.put("refused", **{**BASE, **more})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)
    assert azure.state("refused") is None


def test_quota_is_for_each_model_and_sku_and_shown_in_usages(azure) -> None:
    azure.deploy("wide", **BASE, sku="DataZoneStandard", capacity=400)
    refused = azure.put("wider", **BASE, sku="DataZoneStandard", capacity=200)
    assert "current available capacity 100" in refused.json()["error"]["message"]
    shown = azure.arm("GET", f"{LOCATIONS}/swedencentral/usages").json()["value"]
    (used,) = [u for u in shown if u["name"]["value"] == "OpenAI.DataZoneStandard.gpt-4o-mini"]
    assert (used["currentValue"], used["limit"]) == (400, 500)
    azure.drop("wide")


def test_a_resource_has_ten_fine_tuned_deployments(azure, azure_job) -> None:
    names = [f"ten{i}" for i in range(11)]
    replies = [azure.put(name, azure_job.fine_tuned_model) for name in names]
    assert [r.status_code for r in replies] == [201] * 10 + [400]
    assert replies[-1].json()["error"]["code"] == "QuotaExceeded"
    for name in names[:10]:
        azure.arm("DELETE", f"{ACCOUNTS}/{ACCOUNT}/deployments/{name}")
    azure.sandbox.advance(3)
    assert azure.arm("GET", f"{ACCOUNTS}/{ACCOUNT}/deployments").status_code == 200


def test_another_region_needs_the_source_of_the_model(azure, azure_job) -> None:
    model = azure_job.fine_tuned_model
    refused = azure.put("far", model, account=WEST)
    assert "name that one as the model's source" in refused.json()["error"]["message"]
    made = azure.put("far", model, account=WEST, source=f"{ACCOUNTS}/{ACCOUNT}")
    assert made.status_code == 201
    azure.sandbox.advance(31)
    endpoint = azure.arm("GET", f"{ACCOUNTS}/{WEST}").json()["properties"]["endpoint"]
    plain = endpoint.replace(azure.sandbox.tls_url, azure.sandbox.azure_url)
    with openai.AzureOpenAI(
        azure_endpoint=plain,
        api_key=azure.sandbox.api_key,
        api_version="2024-10-21",
        max_retries=0,
    ) as client:
        assert client.chat.completions.create(model="far", messages=ASK).choices
    with pytest.raises(openai.NotFoundError):
        azure.classic.chat.completions.create(model="far", messages=ASK)
    azure.arm("DELETE", f"{ACCOUNTS}/{WEST}/deployments/far")


def test_hosting_is_billed_by_the_second_and_ends_at_the_delete(azure, azure_job) -> None:
    azure.deploy("hosted", azure_job.fine_tuned_model)
    azure.sandbox.advance(7200)
    ref = f"{ACCOUNT}/hosted"
    (running,) = azure.bill("hosting", ref)
    assert running["running"] is True
    azure.drop("hosted")
    azure.sandbox.advance(7200)
    (entry,) = azure.bill("hosting", ref)
    assert "running" not in entry
    assert 7200 <= entry["seconds"] <= 7260
    assert Decimal(entry["usd"]) == round(Decimal("1.70") * entry["seconds"] / 3600, 9)


def test_the_developer_tier_is_free_to_host_and_gone_after_a_day(azure, azure_job) -> None:
    azure.deploy("trial", azure_job.fine_tuned_model, sku="DeveloperTier")
    azure.sandbox.advance(DAY - 60)
    assert azure.state("trial") == "Succeeded"
    azure.sandbox.advance(120)
    assert azure.state("trial") is None
    (entry,) = azure.bill("hosting", f"{ACCOUNT}/trial")
    assert (entry["seconds"], Decimal(entry["usd"])) == (DAY, 0)


def test_an_idle_fine_tune_is_gone_after_15_days_and_a_used_one_is_not(azure, azure_job) -> None:
    azure.deploy("idle", azure_job.fine_tuned_model)
    azure.sandbox.advance(10 * DAY)
    azure.classic.chat.completions.create(model="idle", messages=ASK)
    azure.sandbox.advance(10 * DAY)
    assert azure.state("idle") == "Succeeded"
    azure.sandbox.advance(6 * DAY)
    assert azure.state("idle") is None
    (entry,) = azure.bill("hosting", f"{ACCOUNT}/idle")
    assert entry["seconds"] == pytest.approx(25 * DAY, abs=60)


def test_what_is_not_there_is_named(azure) -> None:
    gone = "00000000-0000-4000-8000-000000000000"
    cases = {
        ACCOUNTS.replace("22222222-2222-4222-8222-222222222222", gone): "SubscriptionNotFound",
        ACCOUNTS.replace("/understudy/", "/other/"): "ResourceGroupNotFound",
        ACCOUNTS: "ResourceNotFound",
    }
    for root, code in cases.items():
        reply = azure.arm("GET", f"{root}/nobody")
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, code)
    headers = {"Authorization": f"Bearer {azure.sandbox.token('https://management.azure.com')}"}
    unversioned = azure.http.get(f"{ACCOUNTS}/{ACCOUNT}", headers=headers)
    assert unversioned.json()["error"]["code"] == "MissingApiVersionParameter"


def test_models_show_lifecycle_and_where_they_can_be_trained(azure) -> None:
    def mini(path: str):
        found = [m.get("model", m) for m in azure.arm("GET", path).json()["value"]]
        return next(m for m in found if m["name"] == "gpt-4o-mini")

    here = mini(f"{ACCOUNTS}/{ACCOUNT}/models")
    assert here["lifecycleStatus"] == "GenerallyAvailable"
    assert here["deprecation"]["fineTune"].endswith("Z")
    assert here["deprecation"]["inference"].endswith("Z")
    assert here["capabilities"]["fineTune"] == "true"
    assert "GlobalStandard" in [s["name"] for s in here["skus"]]
    assert mini(f"{LOCATIONS}/westus3/models")["capabilities"]["fineTune"] == "false"
    asked = azure.arm("GET", f"{ACCOUNTS}/{ACCOUNT}").json()
    assert asked["location"] == "swedencentral"
    assert asked["properties"]["endpoint"] == f"{azure.sandbox.tls_url}/"
    path = f"{ACCOUNTS}/{ACCOUNT}/providers/Microsoft.Authorization/permissions"
    assert "Microsoft.CognitiveServices/*" in azure.arm("GET", path).json()["value"][0]["actions"]
