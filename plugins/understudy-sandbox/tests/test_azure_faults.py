"""The fault kinds that only Azure has, and the general ones in its envelope."""

from __future__ import annotations

import httpx2 as httpx
import openai
import pytest

from azure_face_kit import ACCOUNTS, ASK
from understudy_sandbox.azure.settings import ACCOUNT

PUT = "arm.deployments.create_or_update"
BASE = {"model": "gpt-4.1-mini", "version": "2025-04-14"}


def test_a_missing_role_names_the_action(azure) -> None:
    azure.sandbox.faults({"on": "arm.*", "do": "azure_no_role", "times": None})
    refused = azure.put("role", **BASE)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "AuthorizationFailed")
    message = refused.json()["error"]["message"]
    assert "'Microsoft.CognitiveServices/accounts/deployments/write'" in message
    path = f"{ACCOUNTS}/{ACCOUNT}/providers/Microsoft.Authorization/permissions"
    assert azure.arm("GET", path).json()["value"][0]["actions"] == ["*/read"]
    azure.sandbox.faults({"on": "files.list", "do": "azure_no_role"})
    assert azure.data("GET", "/files").json()["error"]["code"] == "PermissionDenied"


@pytest.mark.parametrize(
    ("do", "status", "code"),
    [
        ("azure_quota", 400, "InsufficientQuota"),
        ("azure_no_capacity", 409, "InsufficientCapacity"),
        ("azure_expired_token", 401, "ExpiredAuthenticationToken"),
        ("error", 500, "500"),
    ],
)
def test_refusals_of_a_deployment(azure, do, status, code) -> None:
    azure.sandbox.faults({"on": PUT, "do": do})
    refused = azure.put("refused", **BASE)
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
    assert azure.state("refused") is None


def test_a_deployment_may_fail_after_a_while(azure) -> None:
    azure.sandbox.faults({"on": PUT, "do": "azure_deploy_fails", "seconds": 10})
    made = azure.put("frail", **BASE)
    azure.sandbox.advance(12)
    assert azure.state("frail") == "Failed"
    path = made.headers["azure-asyncoperation"].split("?")[0].removeprefix(azure.sandbox.tls_url)
    assert azure.arm("GET", path).json()["error"]["code"] == "InternalServerError"
    with pytest.raises(openai.NotFoundError):
        azure.v1.chat.completions.create(model="frail", messages=ASK)
    azure.drop("frail")


def test_a_deployment_made_behind_an_error_is_found_and_not_doubled(azure) -> None:
    azure.sandbox.faults({"on": PUT, "do": "error_after", "status": 500})
    assert azure.put("behind", **BASE).status_code == 500
    assert azure.put("behind", **BASE).status_code == 200
    deployments = azure.sandbox.state()["deployments"]
    assert [d["id"] for d in deployments].count(f"{ACCOUNT}/behind") == 1
    azure.drop("behind")


def test_lists_may_lag_behind_a_deployment_and_connections_drop(azure) -> None:
    azure.sandbox.faults({"on": PUT, "do": "list_lag", "seconds": 20})
    azure.put("late", **BASE)
    path = f"{ACCOUNTS}/{ACCOUNT}/deployments"

    def names() -> list[str]:
        return [d["name"] for d in azure.arm("GET", path).json()["value"]]

    assert "late" not in names()
    assert azure.state("late") == "Accepted"
    azure.sandbox.advance(25)
    assert "late" in names()
    azure.sandbox.faults({"on": "arm.deployments.delete", "do": "drop_after"})
    with pytest.raises(httpx.HTTPError):
        azure.arm("DELETE", f"{path}/late")
    assert azure.state("late") == "Deleting"
    assert azure.put("late", **BASE).json()["error"]["code"] == "RequestConflict"
    azure.sandbox.advance(5)


def test_replies_are_bent_as_they_were_seen(azure, azure_job) -> None:
    path = f"/fine_tuning/jobs/{azure_job.id}"
    bends = ("azure_iso_dates", "azure_negative_tokens", "azure_status_case", "azure_value_lists")
    azure.sandbox.faults(*({"on": "fine_tuning.jobs.*", "do": do, "times": None} for do in bends))
    job = azure.data("GET", path).json()
    assert job["created_at"].startswith("20")
    assert job["created_at"].endswith("+00:00")
    assert job["trained_tokens"] == -azure_job.trained_tokens
    assert job["status"] == "Succeeded"
    listed = azure.data("GET", "/fine_tuning/jobs", params={"limit": 100}).json()
    assert set(listed) == {"value"}
    assert azure_job.id in [j["id"] for j in listed["value"]]


def test_a_filtered_prompt_is_400_with_its_innererror(azure) -> None:
    azure.sandbox.faults({"on": "chat.completions.create", "do": "azure_content_filter"})
    with pytest.raises(openai.BadRequestError) as refused:
        azure.classic.chat.completions.create(model="any", messages=ASK)
    assert refused.value.code == "content_filter"
    inner = refused.value.body["innererror"]
    assert inner["code"] == "ResponsibleAIPolicyViolation"


def test_an_expired_key_is_refused_in_azures_words_and_a_token_is_not(azure) -> None:
    azure.sandbox.key(expired=True)
    with pytest.raises(openai.AuthenticationError, match="invalid subscription key"):
        azure.classic.files.list()
    headers = {"Authorization": f"Bearer {azure.sandbox.token()}"}
    assert azure.http.get("/openai/v1/models", headers=headers).status_code == 200
    azure.sandbox.key(expired=False)


def test_unsafe_files_fail_the_job_with_their_code(azure, azure_file) -> None:
    azure.sandbox.faults({"on": "fine_tuning.jobs.create", "do": "fail_job"})
    job = azure.create(azure_file)
    jobs = azure.classic.fine_tuning.jobs
    done = azure.reach(lambda: jobs.retrieve(job.id), "failed")
    assert done.error.code == "unsafe_file"
