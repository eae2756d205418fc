"""The backend against a real server: both surfaces, key and token over TLS, quirks."""

from __future__ import annotations

import http.server
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

pytest.importorskip("understudy_sandbox", reason="needs the sandbox plugin")

from azure_kit import MODEL, wanted
from azure_sandbox_kit import (
    CREATE,
    backend_of,
    job_of,
    principal,
    settings_for,
    trained,
    uploaded,
)
from openai_sandbox_kit import SECRET, SteppedSandbox
from understudy.errors import (
    InvalidData,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from understudy.model import ChatRequest, Found, Handle, RemoteState
from understudy.testing import ManualClock
from understudy_azure.backend import AzureBackend
from understudy_sandbox.azure.settings import RESOURCE_GROUP, SUBSCRIPTION

DAY = 86_400.0
QUESTION: Any = ({"role": "user", "content": "order number 3"},)


@pytest.mark.parametrize("surface", ["v1", "classic"])
@pytest.mark.parametrize("auth", ["key", "token"])
def test_from_rows_to_an_answer_and_down_again(
    sandbox: SteppedSandbox, tmp_path: Path, surface: str, auth: str
) -> None:
    given = {"surface": surface, "auth": auth}
    with_key = {"api_key": SecretStr(SECRET)} if auth == "key" else {}
    backend = backend_of(principal(sandbox, **given, **with_key))
    key = f"us-flow-{surface}-{auth}"
    assert all(check.ok for check in backend.doctor())
    spec = job_of(tmp_path, suffix="flow")
    job = trained(backend, sandbox, spec, key)
    status = backend.poll(job)
    billed = [e for e in sandbox.bill()["entries"] if e["ref"] == job.id]
    assert status.trained_tokens == sum(entry["trained_tokens"] for entry in billed)
    ref = backend.model(job)
    assert ref.id.endswith("-flow")
    assert (ref.base_model, ref.owner) == (MODEL, "understudy-sandbox")
    assert [point.step for point in backend.checkpoints(job)]
    asked = wanted(f"flow-{surface}-{auth}", model=ref.id)
    deployment = backend.start_deployment(asked, key=f"{key}.deploy")
    question = ChatRequest(model=asked.name, messages=QUESTION)
    with pytest.raises(NotFound):
        backend.complete(question, timeout=20)
    assert backend.poll_deployment(deployment).state is RemoteState.RUNNING
    sandbox.advance(6)
    serves = backend.poll_deployment(deployment)
    assert (serves.state, serves.model) == (RemoteState.SUCCEEDED, asked.name)
    assert backend.complete(question, timeout=20).text in {"yes", "no"}
    backend.scale_deployment(deployment, 20)
    (row,) = [one for one in backend.list_deployments() if one.name == asked.name]
    assert (row.capacity, row.key, row.sku) == (20, f"{key}.deploy", "DeveloperTier")
    assert row.created_at is not None
    backend.stop_deployment(deployment)
    backend.stop_deployment(deployment)
    sandbox.advance(5)
    assert backend.poll_deployment(deployment).state is RemoteState.CANCELLED
    assert backend.lifecycle(MODEL).training_until is not None
    backend.close()


def test_a_deployment_that_rests_is_seen_and_goes_after_fifteen_days(
    sandbox: SteppedSandbox, tmp_path: Path
) -> None:
    clock = ManualClock(sandbox.now())

    def wait(days: float) -> None:
        sandbox.advance(days * DAY)
        clock.advance(sandbox.now() - clock.now())
        backend.tokens.forget()  # it has expired meanwhile

    backend = AzureBackend(name="azure", settings=principal(sandbox), clock=clock)
    ref = backend.model(trained(backend, sandbox, job_of(tmp_path), "us-rest"))
    asked = wanted("rest-1", model=ref.id, sku="Standard", purpose="serving")
    backend.start_deployment(asked, key="us-rest.deploy")
    wait(2)
    backend.complete(ChatRequest(model="rest-1", messages=QUESTION), timeout=20)
    asked_at = sandbox.now()
    wait(8)
    (row,) = backend.list_deployments()
    assert row.idle_since is not None
    assert 0 <= row.idle_since - asked_at <= 3600
    assert row.deleted_at == row.idle_since + 15 * DAY
    wait(7.1)
    assert list(backend.list_deployments()) == []
    backend.close()


def test_continual_fine_tuning_in_the_developer_tier(
    sandbox: SteppedSandbox, live: AzureBackend, tmp_path: Path
) -> None:
    first = live.model(trained(live, sandbox, job_of(tmp_path), "us-first"))
    chosen = {"n_epochs": 1, "training_type": "developer"}
    again = job_of(tmp_path, base_model=first.id, hyperparameters=chosen)
    assert live.validate(again) == []
    second = live.model(trained(live, sandbox, again, "us-second"))
    assert second.id != first.id
    assert ".ft-" in second.id


def test_dpo_on_a_model_that_has_it(
    sandbox: SteppedSandbox, keyed: AzureBackend, tmp_path: Path
) -> None:
    line = (
        '{"input":{"messages":[{"role":"user","content":"order %d"}]},'
        '"preferred_output":[{"role":"assistant","content":"yes"}],'
        '"non_preferred_output":[{"role":"assistant","content":"maybe"}]}\n'
    )
    spec = job_of(tmp_path, base_model="gpt-4.1-mini-2025-04-14", method="dpo")
    text = "".join(line % number for number in range(10))
    Path(spec.training.path).write_text(text, encoding="utf-8")
    spec = replace(spec, hyperparameters={"beta": 0.1, "n_epochs": 1})
    assert keyed.poll(trained(keyed, sandbox, spec, "us-dpo")).state is RemoteState.SUCCEEDED


@pytest.mark.parametrize("do", ["error_after", "drop_after"])
def test_a_job_whose_reply_was_lost_is_found_by_its_file(
    sandbox: SteppedSandbox, keyed: AzureBackend, tmp_path: Path, do: str
) -> None:
    spec = job_of(tmp_path)
    files = uploaded(keyed, sandbox, spec, f"us-lost-{do}")
    sandbox.faults({"on": CREATE, "do": do})
    with pytest.raises(OutcomeUnknown):
        keyed.create(spec, files, key=f"us-lost-{do}")
    found = keyed.find(f"us-lost-{do}", files)
    assert isinstance(found, Found)
    keyed.cancel(found.handle)
    keyed.cancel(found.handle)
    assert keyed.poll(found.handle).state is RemoteState.CANCELLED


def test_pause_and_resume(sandbox: SteppedSandbox, keyed: AzureBackend, tmp_path: Path) -> None:
    spec = job_of(tmp_path)
    job = keyed.create(spec, uploaded(keyed, sandbox, spec, "us-pause"), key="us-pause")
    sandbox.until(job.id, "running", step=0.5)
    keyed.pause(job)
    sandbox.until(job.id, "paused")
    assert keyed.poll(job).state is RemoteState.PAUSED
    keyed.resume(job)
    keyed.resume(job)
    assert keyed.poll(job).state in {RemoteState.RESUMING, RemoteState.RUNNING}


def test_a_token_that_expires_in_mid_run_is_fetched_anew(
    sandbox: SteppedSandbox, live: AzureBackend, tmp_path: Path
) -> None:
    job = trained(live, sandbox, job_of(tmp_path), "us-expire")
    sandbox.advance(4000)
    with pytest.raises(Unavailable, match="new token"):
        live.poll(job)
    assert live.poll(job).state is RemoteState.SUCCEEDED
    gone = Handle(kind="deployment", id="nobody")
    assert live.poll_deployment(gone).state is RemoteState.CANCELLED


def test_workload_identity(sandbox: SteppedSandbox, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a.b.c")
    backend = backend_of(
        principal(sandbox, credential="workload", client_secret=None, token_file=file)
    )
    assert all(check.ok for check in backend.doctor())
    backend.close()


@pytest.mark.parametrize("credential", ["managed", "default"])
def test_managed_identity(
    sandbox: SteppedSandbox, monkeypatch: pytest.MonkeyPatch, credential: str
) -> None:
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", sandbox.azure_url)
    given = {"client_secret": None, "client_id": None, "credential": credential}
    backend = backend_of(principal(sandbox, **given))
    assert all(check.ok for check in backend.doctor())
    backend.close()


def test_a_model_of_another_region(
    sandbox: SteppedSandbox, live: AzureBackend, tmp_path: Path
) -> None:
    model = live.model(trained(live, sandbox, job_of(tmp_path), "us-region")).id
    west = {
        "endpoint": f"{sandbox.tls_url}/accounts/understudy-sandbox-west",
        "account": "understudy-sandbox-west",
    }
    asked = wanted("west-1", model=model)
    away = backend_of(principal(sandbox, **west))
    with pytest.raises(InvalidData, match="source"):
        away.start_deployment(asked, key="us-west")
    home = (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}"
        "/providers/Microsoft.CognitiveServices/accounts/understudy-sandbox"
    )
    told = backend_of(principal(sandbox, **west, source=home))
    handle = told.start_deployment(asked, key="us-west")
    sandbox.advance(6)
    assert told.poll_deployment(handle).model == "west-1"
    told.stop_deployment(handle)
    for one in (away, told):
        one.close()


def test_iso_dates_value_lists_and_negative_tokens(
    sandbox: SteppedSandbox, keyed: AzureBackend, tmp_path: Path
) -> None:
    job = trained(keyed, sandbox, job_of(tmp_path), "us-quirks")
    plain = keyed.poll(job)
    kinds = ("iso_dates", "value_lists", "negative_tokens", "status_case")
    sandbox.faults(*({"on": "*", "do": f"azure_{kind}", "times": None} for kind in kinds))
    strange = keyed.poll(job)
    assert strange.raw == "Succeeded"
    assert (strange.state, strange.trained_tokens) == (plain.state, plain.trained_tokens)
    assert plain.fields["finished_at"] == strange.fields["finished_at"]
    listed = {handle.id: status.state for handle, status in keyed.jobs()}
    assert listed[job.id] is RemoteState.SUCCEEDED
    files = Handle(kind="upload", id=str(job.data["training_file"]))
    found = keyed.find("us-quirks", files)
    assert isinstance(found, Found)
    assert found.handle.id == job.id


class _Blobs(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


def test_an_import_from_a_blob(sandbox: SteppedSandbox, tmp_path: Path) -> None:
    spec = job_of(tmp_path)

    def handler(*given: Any) -> _Blobs:
        return _Blobs(*given, directory=str(tmp_path))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/train.jsonl?sig=planted"
        given = {"surface": "classic", "training_blob_url": SecretStr(url)}
        backend = backend_of(settings_for(sandbox, **given))
        job = trained(backend, sandbox, spec, "us-blob")
        server.shutdown()
        thread.join(5)
    assert backend.poll(job).state is RemoteState.SUCCEEDED
    backend.close()
