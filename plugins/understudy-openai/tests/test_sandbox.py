"""The backend against the sandbox provider: the real wire, real faults, on loopback."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from openai_kit import Clock, rows_of
from understudy.errors import (
    AuthError,
    BackendError,
    InvalidData,
    NotEligible,
    NotFound,
    OutcomeUnknown,
    QuotaError,
    RateLimited,
    Retired,
    Unavailable,
)
from understudy.model import (
    Absent,
    ChatRequest,
    Found,
    Handle,
    JobSpec,
    RemoteState,
    UploadReady,
)
from understudy_openai import OpenAIBackend, OpenAISettings

pytest.importorskip("understudy_sandbox", reason="needs the sandbox plugin")

from openai_sandbox_kit import QUICK, SECRET, SteppedSandbox, rules_taken_away

CREATE, RETRIEVE = "fine_tuning.jobs.create", "fine_tuning.jobs.retrieve"


@pytest.fixture(scope="module")
def shared() -> Iterator[SteppedSandbox]:
    with SteppedSandbox(api_key=SECRET, **QUICK) as running:
        yield running


@pytest.fixture
def sandbox(shared: SteppedSandbox) -> Iterator[SteppedSandbox]:
    with rules_taken_away(shared):
        yield shared


@pytest.fixture
def backend(sandbox: SteppedSandbox) -> Iterator[OpenAIBackend]:
    settings = OpenAISettings(api_key=SecretStr(SECRET), base_url=sandbox.url)
    made = OpenAIBackend(name="openai", settings=settings, clock=Clock())
    yield made
    made.close()


NUMBERS = itertools.count(1)


@pytest.fixture
def key() -> str:
    """The sandbox is shared, the keys are not."""
    return f"us-sandbox-{next(NUMBERS)}"


@pytest.fixture
def files(backend: OpenAIBackend, spec: JobSpec, key: str) -> Handle:
    handle = backend.upload(spec, key=key)
    assert backend.poll_upload(handle) == UploadReady()
    return handle


def jobs_of(sandbox: SteppedSandbox, key: str) -> list[str]:
    jobs = sandbox.state()["jobs"]
    return [one["id"] for one in jobs if (one["metadata"] or {}).get("understudy_key") == key]


def test_the_whole_way_from_rows_to_an_answer(
    sandbox: SteppedSandbox, backend: OpenAIBackend, spec: JobSpec, key: str, tmp_path: Path
) -> None:
    spec = replace(spec, validation=rows_of(tmp_path / "v.jsonl", count=4, words="parcel"))
    assert backend.validate(spec) == []
    files = backend.upload(spec, key=key)
    job = backend.create(spec, files, key=key)
    assert backend.poll(job).state is RemoteState.QUEUED
    sandbox.until(job.id, "succeeded")
    status = backend.poll(job)
    assert status.state is RemoteState.SUCCEEDED
    assert status.problem is None
    assert status.trained_tokens
    ref = backend.model(job)
    assert (ref.id, ref.owner) == (status.model, "understudy-sandbox")
    asked = ChatRequest(model=ref.id, messages=({"role": "user", "content": "order 3"},))
    reply = backend.complete(asked, timeout=20)
    assert reply.text in {"yes", "no"}
    assert reply.usage.input > 0
    assert not reply.usage_counted_here
    points = backend.checkpoints(job)
    assert [point.step for point in points] == sorted(point.step for point in points)
    assert points[-1].model == ref.id
    events = list(backend.events(job, after=None))
    assert any("train_loss" in event.metrics for event in events)
    assert list(backend.events(job, after=events[2].id)) == events[3:]


def test_the_bill_is_what_was_estimated(
    sandbox: SteppedSandbox, backend: OpenAIBackend, spec: JobSpec, files: Handle, key: str
) -> None:
    job = backend.create(spec, files, key=key)
    sandbox.until(job.id, "succeeded")
    trained = backend.poll(job).trained_tokens
    (entry,) = [one for one in sandbox.bill()["entries"] if job.id in json.dumps(one)]
    assert str(trained) in json.dumps(entry)


def test_auto_epochs_are_those_of_the_estimate(
    sandbox: SteppedSandbox, backend: OpenAIBackend, spec: JobSpec, key: str
) -> None:
    auto = replace(spec, hyperparameters={})
    job = backend.create(auto, backend.upload(auto, key=key), key=key)
    sandbox.until(job.id, "succeeded")
    shown = backend.client.fine_tuning.jobs.retrieve(job.id)
    assert shown.hyperparameters.n_epochs == backend.estimate(auto).epochs


def test_a_repeated_upload_finds_the_file(
    sandbox: SteppedSandbox, backend: OpenAIBackend, spec: JobSpec, files: Handle, key: str
) -> None:
    count = sandbox.state()["files"]
    assert backend.upload(spec, key=key) == files
    assert sandbox.state()["files"] == count


@pytest.mark.parametrize(
    "fault",
    [
        {"do": "error_after", "status": 500},
        {"do": "error_after", "status": 409},
        {"do": "error_after", "status": 503},
        {"do": "drop_after"},
        {"do": "truncate"},
        {"do": "garbled_body"},
    ],
    ids=lambda fault: f"{fault['do']}-{fault.get('status', '')}",
)
def test_a_lost_reply_is_one_job_that_find_finds(
    sandbox: SteppedSandbox,
    backend: OpenAIBackend,
    spec: JobSpec,
    files: Handle,
    key: str,
    fault: dict[str, Any],
) -> None:
    sandbox.faults({"on": CREATE, **fault})
    with pytest.raises(OutcomeUnknown):
        backend.create(spec, files, key=key)
    (made,) = jobs_of(sandbox, key)
    found = backend.find(key, files)
    assert isinstance(found, Found)
    assert (found.handle.id, found.surplus) == (made, ())
    assert backend.poll(found.handle).state is RemoteState.QUEUED


@pytest.mark.parametrize("fault", [{"do": "error", "status": 500}, {"do": "drop"}])
def test_a_create_that_took_no_effect_is_absent(
    sandbox: SteppedSandbox,
    backend: OpenAIBackend,
    spec: JobSpec,
    files: Handle,
    key: str,
    fault: dict[str, Any],
) -> None:
    sandbox.faults({"on": CREATE, **fault})
    with pytest.raises(OutcomeUnknown):
        backend.create(spec, files, key=key)
    assert jobs_of(sandbox, key) == []
    assert backend.find(key, files) == Absent()


def test_a_lagging_list_hides_the_job_for_a_while(
    sandbox: SteppedSandbox, backend: OpenAIBackend, spec: JobSpec, files: Handle, key: str
) -> None:
    sandbox.faults(
        {"on": CREATE, "do": "list_lag", "seconds": 30}, {"on": CREATE, "do": "error_after"}
    )
    with pytest.raises(OutcomeUnknown):
        backend.create(spec, files, key=key)
    assert backend.find(key, files) == Absent()
    sandbox.advance(31)
    assert isinstance(backend.find(key, files), Found)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"do": "error", "status": 429, "retry_after": 5}, RateLimited),
        ({"do": "error", "status": 429, "retry_after": 600}, RateLimited),
        ({"do": "too_many_jobs"}, RateLimited),
        ({"do": "quota"}, QuotaError),
        ({"do": "not_eligible"}, NotEligible),
        ({"do": "echo_key"}, AuthError),
        ({"do": "error", "status": 400, "code": "invalid_file"}, InvalidData),
    ],
    ids=lambda value: value.get("do") if isinstance(value, dict) else "",
)
def test_a_refused_create_makes_no_job(
    sandbox: SteppedSandbox,
    backend: OpenAIBackend,
    spec: JobSpec,
    files: Handle,
    key: str,
    fault: dict[str, Any],
    expected: type[BackendError],
) -> None:
    sandbox.faults({"on": CREATE, **fault})
    with pytest.raises(expected) as caught:
        backend.create(spec, files, key=key)
    assert type(caught.value) is expected
    assert SECRET not in f"{caught.value} {vars(caught.value)}"
    assert jobs_of(sandbox, key) == []
    if isinstance(caught.value, RateLimited):
        assert caught.value.retry_after == fault.get("retry_after")


def test_an_expired_key_is_an_auth_error_until_there_is_a_new_one(
    sandbox: SteppedSandbox, backend: OpenAIBackend, spec: JobSpec, files: Handle, key: str
) -> None:
    job = backend.create(spec, files, key=key)
    sandbox.faults({"on": RETRIEVE, "do": "expire_key"})
    for _ in range(2):
        with pytest.raises(AuthError, match="then retry"):
            backend.poll(job)
    sandbox.key(expired=False)
    assert backend.poll(job).raw


def test_a_status_nobody_knows_is_survived(
    sandbox: SteppedSandbox, backend: OpenAIBackend, spec: JobSpec, files: Handle, key: str
) -> None:
    job = backend.create(spec, files, key=key)
    sandbox.faults({"on": "fine_tuning.jobs.*", "do": "status", "value": "dreaming", "times": 2})
    assert backend.poll(job).state is RemoteState.UNKNOWN
    assert backend.poll_many([job])[job.id].raw == "dreaming"
    assert backend.poll(job).state is not RemoteState.UNKNOWN


@pytest.mark.parametrize("do", ["truncate", "garbled_body", "drop", "error"])
def test_trouble_while_polling_is_unavailable(
    sandbox: SteppedSandbox,
    backend: OpenAIBackend,
    spec: JobSpec,
    files: Handle,
    key: str,
    do: str,
) -> None:
    job = backend.create(spec, files, key=key)
    sandbox.faults({"on": RETRIEVE, "do": do})
    with pytest.raises(Unavailable):
        backend.poll(job)
    assert not backend.poll(job).state.terminal


def test_a_failed_job_says_why(
    sandbox: SteppedSandbox, backend: OpenAIBackend, spec: JobSpec, files: Handle, key: str
) -> None:
    sandbox.faults({"on": CREATE, "do": "fail_job", "code": "unsafe_file"})
    job = backend.create(spec, files, key=key)
    sandbox.until(job.id, "failed")
    status = backend.poll(job)
    assert status.state is RemoteState.FAILED
    assert status.problem is not None
    assert (status.problem.code, status.problem.param) == ("unsafe_file", "training_file")


def test_a_job_that_the_provider_cancels_is_cancelled(
    sandbox: SteppedSandbox, backend: OpenAIBackend, spec: JobSpec, files: Handle, key: str
) -> None:
    sandbox.faults({"on": CREATE, "do": "cancel_job", "at": 0.5})
    job = backend.create(spec, files, key=key)
    sandbox.until(job.id, "cancelled")
    assert backend.poll(job).state is RemoteState.CANCELLED
    assert backend.poll(job).problem is None


def test_cancel_pause_and_resume_may_be_repeated(
    sandbox: SteppedSandbox, backend: OpenAIBackend, spec: JobSpec, files: Handle, key: str
) -> None:
    job = backend.create(spec, files, key=key)
    sandbox.until(job.id, "running", step=0.5)
    for _ in range(2):
        backend.pause(job)
    sandbox.advance(1)
    assert backend.poll(job).state is RemoteState.PAUSED
    for _ in range(2):
        backend.resume(job)
    assert backend.poll(job).state is RemoteState.RUNNING
    for _ in range(2):
        backend.cancel(job)
    assert backend.poll(job).state is RemoteState.CANCELLED


def test_two_jobs_under_one_key_are_both_told(
    sandbox: SteppedSandbox, backend: OpenAIBackend, spec: JobSpec, files: Handle, key: str
) -> None:
    first = backend.create(spec, files, key=key)
    sandbox.advance(5)
    second = backend.create(spec, files, key=key)
    found = backend.find(key, files)
    assert isinstance(found, Found)
    assert found.handle.id == first.id
    assert [one.id for one in found.surplus] == [second.id]


def test_dpo(sandbox: SteppedSandbox, backend: OpenAIBackend, spec: JobSpec, key: str) -> None:
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": f"order {number}"}]},
            "preferred_output": [{"role": "assistant", "content": "yes"}],
            "non_preferred_output": [{"role": "assistant", "content": "maybe"}],
        }
        for number in range(12)
    ]
    path = Path(spec.training.path)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    wanted = replace(spec, method="dpo", hyperparameters={"n_epochs": 1, "beta": 0.2})
    assert backend.validate(wanted) == []
    job = backend.create(wanted, backend.upload(wanted, key=key), key=key)
    sandbox.until(job.id, "succeeded", "failed")
    assert backend.poll(job).state is RemoteState.SUCCEEDED


def test_big_files_go_in_parts(
    sandbox: SteppedSandbox,
    backend: OpenAIBackend,
    spec: JobSpec,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from understudy_openai.uploads import Uploader

    monkeypatch.setattr(Uploader.__init__, "__kwdefaults__", {"part": 400, "single": 500})
    files = backend.upload(spec, key=key)
    assert backend.poll_upload(files) == UploadReady()
    assert backend.upload(spec, key=key) == files
    job = backend.create(spec, files, key=key)
    sandbox.until(job.id, "succeeded")


def test_lifecycle_listing_and_doctor(sandbox: SteppedSandbox, backend: OpenAIBackend) -> None:
    dates = backend.lifecycle("gpt-4o-mini-2024-07-18")
    assert dates.inference_until
    assert dates.training_until == dates.inference_until
    assert all(check.ok for check in backend.doctor())
    listed = [handle.id for handle, _ in backend.jobs()]
    assert len(listed) == len(sandbox.state()["jobs"])


def test_a_retired_model_and_one_that_never_was(
    backend: OpenAIBackend, spec: JobSpec, files: Handle, sandbox: SteppedSandbox, key: str
) -> None:
    gone = replace(spec, base_model="gpt-4.1-nano-2025-04-14")
    sandbox.faults({"on": CREATE, "do": "retire", "model": gone.base_model})
    with pytest.raises(Retired):
        backend.create(gone, files, key=key)
    with pytest.raises(NotFound):
        backend.create(replace(spec, base_model="gpt-none"), files, key=key)


def test_nothing_listens_there(spec: JobSpec, files: Handle) -> None:
    settings = OpenAISettings(api_key=SecretStr(SECRET), base_url="http://127.0.0.1:9/v1")
    nowhere = OpenAIBackend(name="openai", settings=settings, clock=Clock())
    with pytest.raises(Unavailable, match="nothing was sent"):
        nowhere.create(spec, files, key="k")
    assert [check.ok for check in nowhere.doctor()] == [False]
    nowhere.close()
