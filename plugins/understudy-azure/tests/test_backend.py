"""The data plane over a wire that is a function: what is sent, on both surfaces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from azure_kit import ENDPOINT, KEY, TOKEN, TUNED, Wire, job, make_backend, refusal
from openai_kit import JOB, JOBS
from understudy.errors import AuthError, NotFound, OutcomeUnknown, RateLimited, Unavailable
from understudy.model import Absent, ChatRequest, Found, Handle, JobSpec, RemoteState

FILES = Handle(kind="upload", id="file-1", data={"training_file": "file-1"})
ANSWER = {
    "id": "c-1",
    "object": "chat.completion",
    "model": "gpt-4o-mini",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "yes"},
            "finish_reason": "stop",
            "content_filter_results": {},
        }
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1},
}
ASKED = ChatRequest(model="unit-1", messages=({"role": "user", "content": "hi"},))


@pytest.mark.parametrize("surface", ["v1", "classic"])
@pytest.mark.parametrize("auth", ["key", "token"])
def test_address_and_credential_of_each_surface(wire: Wire, surface: str, auth: str) -> None:
    backend = make_backend(wire, surface=surface, auth=auth)
    wire.on("GET", f"{JOBS}/ftjob-1", job())
    assert backend.poll(JOB).state is RemoteState.QUEUED
    (request,) = wire.requests
    root = f"{ENDPOINT}/openai/v1" if surface == "v1" else f"{ENDPOINT}/openai"
    version = "" if surface == "v1" else "?api-version=2025-04-01-preview"
    assert str(request.url) == f"{root}{JOBS}/ftjob-1{version}"
    sent: Mapping[str, str] = request.headers
    if auth == "token":
        assert sent["authorization"] == f"Bearer {TOKEN}"
        assert KEY not in str(sent)
    elif surface == "v1":
        assert sent["authorization"] == f"Bearer {KEY}"
    else:
        assert sent["api-key"] == KEY


@pytest.mark.parametrize("surface", ["v1", "classic"])
def test_the_body_of_a_create(wire: Wire, surface: str, spec: JobSpec) -> None:
    backend = make_backend(wire, surface=surface)
    wire.on("POST", JOBS, job())
    handle = backend.create(spec, FILES, key="k-1")
    assert wire.body() == {
        "model": "gpt-4o-mini-2024-07-18",
        "training_file": "file-1",
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
        "seed": 7,
        "suffix": "unit",
        "trainingType": "GlobalStandard",
    }
    assert (handle.id, handle.data["key"]) == ("ftjob-1", "k-1")


def test_a_lost_create_is_unknown_and_a_full_queue_is_waited_for(
    wire: Wire, backend: Any, spec: JobSpec
) -> None:
    wire.on(
        "POST",
        JOBS,
        refusal(500, "Internal error.", "500"),
        refusal(429, "20 jobs are waiting.", "quotaExceeded", **{"retry-after": "60"}),
    )
    with pytest.raises(OutcomeUnknown):
        backend.create(spec, FILES, key="k-1")
    with pytest.raises(RateLimited, match="3 jobs") as caught:
        backend.create(spec, FILES, key="k-1")
    assert caught.value.retry_after == 60
    assert len(wire.requests) == 2


def test_a_job_is_found_by_its_training_file_at_the_end_of_the_list(
    wire: Wire, backend: Any
) -> None:
    pages = [{"value": [job(n)], "has_more": n > 1} for n in (3, 2, 1)]
    wire.on("GET", JOBS, *pages)
    found = backend.find("k-1", FILES)
    assert isinstance(found, Found)
    assert (found.handle.id, found.surplus) == ("ftjob-1", ())
    assert [r.url.params.get("after") for r in wire.requests] == [None, "ftjob-3", "ftjob-2"]
    assert not any("metadata" in str(r.url) for r in wire.requests)


def test_a_job_of_another_file_is_not_found(wire: Wire, backend: Any) -> None:
    wire.on("GET", JOBS, {"data": [job(2), job(3)], "has_more": False})
    assert backend.find("k-1", FILES) == Absent()


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume"])
def test_a_body_goes_with_cancel_pause_and_resume(wire: Wire, backend: Any, verb: str) -> None:
    wire.on("POST", f"{JOBS}/ftjob-1/{verb}", job(status="cancelled"))
    getattr(backend, verb)(JOB)
    assert wire.body() == {}
    assert wire.requests[-1].headers["content-length"] == "2"


def test_what_a_job_was_billed_stands_in_its_log(wire: Wire, backend: Any) -> None:
    ended = job(status="succeeded", trained_tokens=-1, fine_tuned_model=TUNED)
    wire.on("GET", f"{JOBS}/ftjob-1", ended)
    wire.on("GET", JOBS, {"data": [ended], "has_more": False})
    log = [{"id": "e-2", "message": "Training tokens billed: 480", "created_at": 2}]
    wire.on("GET", f"{JOBS}/ftjob-1/events", {"data": log, "has_more": True})
    assert backend.poll(JOB).trained_tokens == 480
    assert backend.poll_many([JOB]) == {}
    assert len(wire.requests) == 3


def test_the_outcome_stands_where_the_log_cannot_be_read(wire: Wire, backend: Any) -> None:
    wire.on("GET", f"{JOBS}/ftjob-1", job(status="succeeded", trained_tokens=12))
    wire.on("GET", f"{JOBS}/ftjob-1/events", refusal(500, "Internal error.", "500"))
    status = backend.poll(JOB)
    assert (status.state, status.trained_tokens) == (RemoteState.SUCCEEDED, 12)


def test_a_pending_file_of_an_earlier_try_is_used_again(
    wire: Wire, backend: Any, spec: JobSpec
) -> None:
    size = spec.training.bytes
    there = {"id": "file-9", "filename": "understudy-k-1-train.jsonl", "bytes": size}
    wire.on("GET", "/files", {"data": [{**there, "status": "pending"}], "has_more": False})
    assert backend.upload(spec, key="k-1").id == "file-9"
    wire.on(
        "GET", "/files/file-9", {**there, "status": "pending"}, {**there, "status": "processed"}
    )
    handle = Handle(kind="upload", id="file-9")
    kinds = [type(backend.poll_upload(handle)).__name__ for _ in range(2)]
    assert kinds == ["UploadPending", "UploadReady"]


def test_a_blob_is_fetched_by_the_service_once(spec: JobSpec) -> None:
    wire, blob = Wire(), "https://store.invalid/train.jsonl?sig=planted"
    backend = make_backend(wire, surface="classic", training_blob_url=SecretStr(blob))
    name = "understudy-k-1-train.jsonl"
    made = {"id": "file-5", "filename": name, "status": "pending", "bytes": 0}
    wire.on("GET", "/files", {"data": []}, {"data": [made]})
    wire.on("POST", "/files/import", made)
    assert backend.upload(spec, key="k-1").id == "file-5"
    assert wire.body() == {"purpose": "fine-tune", "filename": name, "content_url": blob}
    handle = backend.upload(spec, key="k-1")
    assert handle.id == "file-5"
    assert "planted" not in repr(handle)
    assert sum(r.method == "POST" for r in wire.requests) == 1
    wire.on("POST", "/files/import", refusal(400, f"Cannot read {blob}", "fileImportFailed"))
    with pytest.raises(Exception, match="rows") as caught:
        backend.import_file(blob, name)
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("surface", "path"),
    [("v1", "/chat/completions"), ("classic", "/deployments/unit-1/chat/completions")],
)
def test_a_completion_goes_to_the_deployment(wire: Wire, surface: str, path: str) -> None:
    backend = make_backend(wire, surface=surface)
    wire.on("POST", path, ANSWER)
    reply = backend.complete(ASKED, timeout=30)
    assert (reply.text, reply.usage.input) == ("yes", 5)
    assert wire.body()["model"] == "unit-1"


def test_base_models_are_asked_through_the_deployments_that_the_settings_name(wire: Wire) -> None:
    base = "gpt-4.1-2025-04-14"
    backend = make_backend(wire, deployments={base: "unit-1"})
    wire.on("POST", "/chat/completions", ANSWER)
    asked = ChatRequest(model=base, messages=ASKED.messages)
    assert backend.complete(asked, timeout=30).text == "yes"
    assert wire.body()["model"] == "unit-1"


def test_a_deployment_that_is_not_there(wire: Wire, backend: Any) -> None:
    wire.on("POST", "/chat/completions", refusal(404, "does not exist", "DeploymentNotFound"))
    with pytest.raises(NotFound, match="under deployments in the settings"):
        backend.complete(ASKED, timeout=30)
    backend._serving_since["unit-1"] = backend.clock.now() - 599
    with pytest.raises(Unavailable, match="does not answer yet"):
        backend.complete(ASKED, timeout=30)
    backend.clock.time += 2
    with pytest.raises(NotFound):
        backend.complete(ASKED, timeout=30)


def test_a_refused_token_is_not_used_again(wire: Wire) -> None:
    backend = make_backend(wire, auth="token")
    wire.on("GET", f"{JOBS}/ftjob-1", refusal(401, "The access token has expired.", "401"))
    with pytest.raises(Unavailable, match="new token"):
        backend.poll(JOB)
    assert backend.tokens.forgotten == 1
    wire.on("GET", f"{JOBS}/ftjob-1", refusal(401, f"Bad token {TOKEN}", "401"))
    with pytest.raises(AuthError) as caught:
        backend.poll(JOB)
    assert TOKEN not in str(caught.value)


def test_a_model_whose_owner_is_not_told(wire: Wire, backend: Any) -> None:
    wire.on("GET", f"{JOBS}/ftjob-1", job(status="succeeded", fine_tuned_model=TUNED))
    ref = backend.model(JOB)
    assert (ref.id, ref.base_model, ref.owner) == (TUNED, "gpt-4o-mini-2024-07-18", None)


def test_dates_from_the_data_plane_where_arm_is_not_configured(wire: Wire, backend: Any) -> None:
    dates = {"fine_tune": 1_790_812_800, "inference": 1_822_348_800}
    base = "gpt-4o-mini-2024-07-18"
    wire.on("GET", f"/models/{base}", {"id": base, "deprecation": dates})
    life = backend.lifecycle(TUNED)
    assert (life.model, life.training_until) == (TUNED, "2026-10-01")
    assert "data plane" not in life.source
    assert "unit.openai.azure.com" in life.source


def test_a_certificate_authority_of_ones_own(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    backend = make_backend(ca_file=file)
    client = super(type(backend), backend).transport()
    client.close()
