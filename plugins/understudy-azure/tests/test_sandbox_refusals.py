"""What the sandbox's Azure refuses or breaks, and what the backend makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

pytest.importorskip("understudy_sandbox", reason="needs the sandbox plugin")

from azure_kit import MODEL, wanted
from azure_sandbox_kit import (
    CREATE,
    PUT,
    backend_of,
    job_of,
    principal,
    settings_for,
    uploaded,
)
from openai_sandbox_kit import SECRET, SteppedSandbox
from understudy.errors import (
    AuthError,
    InvalidData,
    NotFound,
    OutcomeUnknown,
    QuotaError,
    RateLimited,
    Unavailable,
)
from understudy.model import Found, Handle
from understudy_azure.backend import AzureBackend

READ = "fine_tuning.jobs.retrieve"


def test_the_services_queue_is_waited_for(
    sandbox: SteppedSandbox, keyed: AzureBackend, tmp_path: Path
) -> None:
    spec = job_of(tmp_path)
    files = uploaded(keyed, sandbox, spec, "us-queue")
    jobs = []
    with pytest.raises(RateLimited, match="queues 20") as caught:
        for number in range(25):
            jobs.append(keyed.create(spec, files, key=f"us-queue-{number}"))  # noqa: PERF401
    assert len(jobs) in {20, 23}
    assert caught.value.retry_after == 60
    for job in jobs:
        keyed.cancel(job)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"client_secret": SecretStr("wrong-planted")}, "AZURE_CLIENT_SECRET"),
        ({"tenant_id": "99999999-9999-4999-8999-999999999999"}, "tenant_id"),
        ({"client_id": "99999999-9999-4999-8999-999999999999"}, "client_id"),
    ],
)
def test_what_entra_id_refuses(sandbox: SteppedSandbox, change: dict[str, Any], words: str) -> None:
    backend = backend_of(principal(sandbox, **change))
    with pytest.raises(AuthError, match=words) as caught:
        backend.poll(Handle(kind="job", id="ftjob-1"))
    assert "planted" not in str(caught.value)
    (check,) = list(backend.doctor())[:1]
    assert (check.name, check.ok) == ("token", False)
    backend.close()


def test_a_server_that_nobody_vouches_for(sandbox: SteppedSandbox) -> None:
    key = {"api_key": SecretStr(SECRET), "auth": "key", "ca_file": None}
    backend = backend_of(principal(sandbox, **key))
    with pytest.raises(Unavailable, match="nothing was sent"):
        backend.poll(Handle(kind="job", id="ftjob-1"))
    with pytest.raises(Unavailable, match="ca_file"):
        backend.poll_deployment(Handle(kind="deployment", id="nobody"))
    backend.close()


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ({"do": "azure_no_role"}, AuthError, "Cognitive Services Contributor"),
        ({"do": "azure_quota"}, QuotaError, "smaller capacity"),
        ({"do": "azure_no_capacity"}, RateLimited, "another sku"),
        ({"do": "azure_expired_token"}, Unavailable, "new token"),
        ({"do": "error_after", "status": 500}, OutcomeUnknown, "look for it"),
    ],
)
def test_refusals_of_a_deployment(
    sandbox: SteppedSandbox,
    live: AzureBackend,
    fault: dict[str, Any],
    kind: type[Exception],
    words: str,
) -> None:
    sandbox.faults({"on": PUT, **fault})
    asked = wanted("refused-1", model=MODEL, purpose="serving")
    with pytest.raises(kind, match=words):
        live.start_deployment(asked, key="us-refused")
    found = live.find_deployment(asked, key="us-refused")
    assert isinstance(found, Found) == (kind is OutcomeUnknown)
    if isinstance(found, Found):
        live.stop_deployment(found.handle)
        sandbox.advance(3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sku": "Gold"}, "evaluation_sku"),
        ({"model": "gpt-9", "base_model": "gpt-9"}, "source"),
        ({"capacity": 501}, "smaller capacity"),
    ],
)
def test_wrong_skus_models_and_capacities(
    live: AzureBackend, fields: dict[str, Any], words: str
) -> None:
    asked = wanted("wrong-1", **{"model": MODEL, "purpose": "serving", **fields})
    with pytest.raises((InvalidData, QuotaError), match=words):
        live.start_deployment(asked, key="us-wrong")


def test_doctor_names_the_role_that_is_missing(sandbox: SteppedSandbox, live: AzureBackend) -> None:
    sandbox.faults({"on": "arm.permissions.list", "do": "azure_no_role", "times": None})
    (ill,) = [check for check in live.doctor() if not check.ok]
    assert (ill.name, "Cognitive Services Contributor" in ill.fix) == ("deployments role", True)
    sandbox.faults({"on": "fine_tuning.jobs.list", "do": "azure_no_role", "times": None})
    (ill,) = [check for check in live.doctor() if not check.ok]
    assert "Cognitive Services OpenAI Contributor" in ill.fix
    assert ill.name == "token"


def test_an_api_version_that_is_too_old(
    sandbox: SteppedSandbox, keyed: AzureBackend, tmp_path: Path
) -> None:
    spec = job_of(tmp_path)
    files = uploaded(keyed, sandbox, spec, "us-old")
    old = backend_of(settings_for(sandbox, surface="classic", api_version="2024-02-01"))
    with pytest.raises(InvalidData, match="set api_version"):
        old.create(spec, files, key="us-old")
    none = backend_of(settings_for(sandbox, surface="classic", api_version="newest"))
    ill = [check for check in none.doctor() if not check.ok]
    assert ill[0].name == "API version"
    for one in (old, none):
        one.close()


def test_a_region_that_does_not_train(sandbox: SteppedSandbox, tmp_path: Path) -> None:
    west = {"endpoint": f"{sandbox.azure_url}/accounts/understudy-sandbox-west"}
    away = backend_of(settings_for(sandbox, **west, account="understudy-sandbox-west"))
    spec = job_of(tmp_path)
    files = uploaded(away, sandbox, spec, "us-west-train")
    with pytest.raises(InvalidData, match="training_type and region"):
        away.create(spec, files, key="us-west-train")
    away.close()


def test_an_unsafe_file_fails_the_job(
    sandbox: SteppedSandbox, keyed: AzureBackend, tmp_path: Path
) -> None:
    sandbox.faults({"on": CREATE, "do": "fail_job", "code": "unsafe_file"})
    spec = job_of(tmp_path)
    job = keyed.create(spec, uploaded(keyed, sandbox, spec, "us-unsafe"), key="us-unsafe")
    sandbox.until(job.id, "failed")
    problem = keyed.poll(job).problem
    assert problem is not None
    assert problem.code == "unsafe_file"


def test_trouble_while_looking_is_unavailable(sandbox: SteppedSandbox, keyed: AzureBackend) -> None:
    for do in ("error", "drop", "truncate", "garbled_body"):
        sandbox.faults({"on": READ, "do": do})
        with pytest.raises((Unavailable, NotFound)):
            keyed.poll(Handle(kind="job", id="ftjob-1"))
    for do in ("error", "drop", "garbled_body"):
        sandbox.faults({"on": "arm.deployments.list", "do": do})
        fresh = backend_of(principal(sandbox))
        with pytest.raises(Unavailable):
            list(fresh.list_deployments())
        fresh.close()
