"""What is played on cassettes: scenarios, and how traffic is cleaned before it is kept.

A scenario runs twice with the same code: once against a real sandbox, whose clock and faults it
steers, and ever after against its cassette, where steering does nothing.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest
import vcr
import yaml
from pydantic import SecretStr
from vcr.request import Request

from openai_batch_kit import batch_spec, ended, replies
from openai_kit import Clock, rows_of
from understudy.errors import OutcomeUnknown, RateLimited
from understudy.model import (
    BatchSpec,
    ChatRequest,
    Found,
    Handle,
    JobSpec,
    RemoteState,
    UploadReady,
)
from understudy_openai import OpenAIBackend, OpenAISettings

FOLDER = Path(__file__).parents[3] / "cassettes" / "openai"
HOST = "http://sandbox.invalid"
CREATE, BATCH = "fine_tuning.jobs.create", "batches.create"
_KEPT_REQUEST = {"content-type"}
_KEPT_RESPONSE = {"content-type", "retry-after"}


class Steering(Protocol):
    """What a scenario may do to the provider behind its back."""

    def until(self, job: str, *wanted: str, step: float = 1.0) -> None: ...
    def faults(self, *rules: dict[str, Any]) -> None: ...
    def advance(self, seconds: float) -> None: ...


class Still:
    """Steers nothing: the tape goes on by itself."""

    def until(self, job: str, *wanted: str, step: float = 1.0) -> None:
        return

    def faults(self, *rules: dict[str, Any]) -> None:
        return

    def advance(self, seconds: float) -> None:
        return


Scenario = Callable[[OpenAIBackend, Steering, Path], None]


# -- cleaning ----------------------------------------------------------------------------------


def clean_request(request: Request) -> Request | None:
    """Neutral host, few headers, a fixed multipart boundary; the sandbox's own routes are left."""
    request.uri = re.sub(r"^https?://[^/]+", HOST, request.uri)
    if request.path.startswith(("/sandbox/", "/metadata/identity/")):
        return None
    kind = request.headers.get("content-type", "")
    boundary = re.search(r"boundary=([\w-]+)", kind)
    if boundary and request.body:
        request.body = request.body.replace(boundary[1].encode(), b"boundary")
        request.headers["content-type"] = kind.replace(boundary[1], "boundary")
    for name in [*request.headers]:
        if name.lower() not in _KEPT_REQUEST:
            del request.headers[name]
    return request


def clean_response(response: dict[str, Any]) -> dict[str, Any]:
    """Headers that mean something to the backend, and no others."""
    headers = response["headers"]
    kept = {name: value for name, value in headers.items() if name.lower() in _KEPT_RESPONSE}
    body = re.sub(rb"https?://127\.0\.0\.1:\d+", HOST.encode(), response["body"]["string"])
    return {**response, "headers": kept, "body": {"string": body}}


def recorder(mode: str, folder: Path = FOLDER) -> Any:
    """A recorder that matches the whole request; ``mode`` is none (replay) or all (record)."""
    return vcr.VCR(
        serializer="yaml",
        cassette_library_dir=str(folder),
        record_mode=mode,
        match_on=("method", "scheme", "host", "path", "query", "body"),
        before_record_request=clean_request,
        before_record_response=clean_response,
        filter_headers=["authorization", "api-key", "cookie", "set-cookie", "openai-organization"],
        decode_compressed_response=True,
    )


def taped(tape: Path) -> list[dict[str, Any]]:
    """The requests and replies on a cassette."""
    return list(yaml.safe_load(tape.read_text(encoding="utf-8"))["interactions"])


def replayed(tape: Path, scenario: Callable[..., None], backend: Any, folder: Path) -> None:
    """Play ``scenario`` against its cassette; all of it must be asked for."""
    with recorder("none", tape.parent).use_cassette(tape.name) as kept:
        assert len(kept) > 0
        scenario(backend, Still(), folder)
        assert kept.all_played
        assert kept.play_count == len(kept)
    backend.close()


def record(
    tape: Path,
    scenario: Callable[..., None],
    backend_of: Callable[[Any], Any],
    sandbox: AbstractContextManager[Any],
) -> None:
    """Play ``scenario`` against a sandbox of its own, and keep the traffic."""
    tape.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder, sandbox as running:
        backend = backend_of(running)
        with recorder("all", tape.parent).use_cassette(tape.name):
            scenario(backend, running, Path(folder))
        backend.close()


def backend_at(url: str, key: str) -> OpenAIBackend:
    settings = OpenAISettings(api_key=SecretStr(key), base_url=url)
    return OpenAIBackend(name="openai", settings=settings, clock=Clock())


# -- scenarios ---------------------------------------------------------------------------------


def small(folder: Path) -> JobSpec:
    return JobSpec(
        base_model="gpt-4o-mini-2024-07-18",
        method="supervised",
        training=rows_of(folder / "train.jsonl", count=10),
        hyperparameters={"n_epochs": 2},
        suffix="tape",
        seed=7,
    )


def started(backend: OpenAIBackend, folder: Path, key: str) -> tuple[JobSpec, Handle, Handle]:
    spec = small(folder)
    files = backend.upload(spec, key=key)
    return spec, files, backend.create(spec, files, key=key)


def happy_path(backend: OpenAIBackend, sandbox: Steering, folder: Path) -> None:
    spec = small(folder)
    spec = replace(spec, validation=rows_of(folder / "validation.jsonl", count=3, words="parcel"))
    files = backend.upload(spec, key="us-tape-happy")
    backend.poll_upload(files)
    job = backend.create(spec, files, key="us-tape-happy")
    assert backend.poll(job).state is RemoteState.QUEUED
    sandbox.until(job.id, "running", step=0.5)
    assert backend.poll_many([job])[job.id].state is RemoteState.RUNNING
    sandbox.until(job.id, "succeeded")
    status = backend.poll(job)
    assert status.state is RemoteState.SUCCEEDED
    assert status.trained_tokens
    ref = backend.model(job)
    assert ref.owner == "understudy-sandbox"
    asked = ChatRequest(model=ref.id, messages=({"role": "user", "content": "order 3"},))
    assert backend.complete(asked, timeout=20).text in {"yes", "no"}


def failed_job(backend: OpenAIBackend, sandbox: Steering, folder: Path) -> None:
    sandbox.faults({"on": CREATE, "do": "fail_job", "code": "unsafe_file"})
    _, _, job = started(backend, folder, "us-tape-failed")
    sandbox.until(job.id, "failed")
    status = backend.poll(job)
    assert status.state is RemoteState.FAILED
    assert status.problem is not None
    assert status.problem.code == "unsafe_file"


def cancel(backend: OpenAIBackend, sandbox: Steering, folder: Path) -> None:
    _, _, job = started(backend, folder, "us-tape-cancel")
    backend.cancel(job)
    assert backend.poll(job).state is RemoteState.CANCELLED
    backend.cancel(job)


def rate_limit(backend: OpenAIBackend, sandbox: Steering, folder: Path) -> None:
    spec = small(folder)
    files = backend.upload(spec, key="us-tape-limit")
    sandbox.faults({"on": CREATE, "do": "error", "status": 429, "retry_after": 600})
    with pytest.raises(RateLimited) as caught:
        backend.create(spec, files, key="us-tape-limit")
    assert caught.value.retry_after == 600
    sandbox.faults({"on": CREATE, "do": "too_many_jobs"})
    with pytest.raises(RateLimited) as caught:
        backend.create(spec, files, key="us-tape-limit")
    assert caught.value.retry_after is None


def events_checkpoints(backend: OpenAIBackend, sandbox: Steering, folder: Path) -> None:
    _, _, job = started(backend, folder, "us-tape-events")
    sandbox.until(job.id, "succeeded")
    events = list(backend.events(job, after=None))
    assert events[0].message.startswith("Created fine-tuning job")
    assert any("train_loss" in event.metrics for event in events)
    assert list(backend.events(job, after=events[0].id)) == events[1:]
    points = backend.checkpoints(job)
    assert [":ckpt-step-" in point.model for point in points] == [True, False]


def find_after_lost_reply(backend: OpenAIBackend, sandbox: Steering, folder: Path) -> None:
    spec = small(folder)
    files = backend.upload(spec, key="us-tape-lost")
    sandbox.faults({"on": CREATE, "do": "error_after", "status": 500})
    with pytest.raises(OutcomeUnknown):
        backend.create(spec, files, key="us-tape-lost")
    found = backend.find("us-tape-lost", files)
    assert isinstance(found, Found)
    assert found.surplus == ()
    assert backend.poll(found.handle).state is RemoteState.QUEUED
    assert backend.upload(spec, key="us-tape-lost") == files


def dpo(backend: OpenAIBackend, sandbox: Steering, folder: Path) -> None:
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": f"order {number}"}]},
            "preferred_output": [{"role": "assistant", "content": "yes"}],
            "non_preferred_output": [{"role": "assistant", "content": "maybe"}],
        }
        for number in range(10)
    ]
    spec = small(folder)
    data = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    Path(spec.training.path).write_bytes(data)
    spec = replace(spec, method="dpo", hyperparameters={"n_epochs": 1, "beta": 0.2})
    files = backend.upload(spec, key="us-tape-dpo")
    job = backend.create(spec, files, key="us-tape-dpo")
    sandbox.until(job.id, "succeeded", "failed")
    assert backend.poll(job).state is RemoteState.SUCCEEDED


def lifecycle(backend: OpenAIBackend, sandbox: Steering, folder: Path) -> None:
    dates = backend.lifecycle("gpt-4o-mini-2024-07-18")
    assert dates.inference_until == dates.training_until == "2028-01-31"
    assert dates.source.startswith("shutdown_date of GET /models")
    checks = {check.name: check for check in backend.doctor()}
    assert all(check.ok for check in checks.values())
    assert "sandbox" in checks["base models"].detail


def batch_spec_of(backend: OpenAIBackend, folder: Path) -> BatchSpec:
    texts = [f"where is order {number}?" for number in range(6)]
    return batch_spec(backend, folder, texts, temperature=0)


def batch_path(backend: OpenAIBackend, sandbox: Steering, folder: Path) -> None:
    spec = batch_spec_of(backend, folder)
    files = backend.upload_batch(spec, key="us-tape-batch")
    assert isinstance(backend.poll_batch_upload(files), UploadReady)
    batch = backend.start_batch(spec, files, key="us-tape-batch")
    look = ended(backend, sandbox, batch)
    assert (look.raw, look.completed) == ("completed", 6)
    found = replies(backend, batch, folder / "back")
    assert {one.outcome for one in found.values()} == {"answered"}
    assert len(found) == 6
    backend.cancel_batch(batch)


def batch_trouble(backend: OpenAIBackend, sandbox: Steering, folder: Path) -> None:
    spec = batch_spec_of(backend, folder)
    files = backend.upload_batch(spec, key="us-tape-lost")
    sandbox.faults({"on": BATCH, "do": "error", "status": 429, "retry_after": 9})
    with pytest.raises(RateLimited):
        backend.start_batch(spec, files, key="us-tape-lost")
    sandbox.faults(
        {"on": BATCH, "do": "error_after"}, {"on": BATCH, "do": "expire_batch", "fraction": 0.5}
    )
    with pytest.raises(OutcomeUnknown):
        backend.start_batch(spec, files, key="us-tape-lost")
    found = backend.find_batch("us-tape-lost", files)
    assert isinstance(found, Found)
    assert ended(backend, sandbox, found.handle).raw == "expired"
    back = [one.outcome for one in replies(backend, found.handle, folder / "back").values()]
    assert (back.count("answered"), back.count("retry")) == (3, 1)
    sandbox.faults({"on": BATCH, "do": "over_quota"})
    second = backend.start_batch(spec, files, key="us-tape-second")
    look = ended(backend, sandbox, second)
    assert (look.state, look.over_quota) == (RemoteState.FAILED, True)


SCENARIOS: Mapping[str, Scenario] = {
    "batch": batch_path,
    "batch-trouble": batch_trouble,
    "cancel": cancel,
    "dpo": dpo,
    "events-checkpoints": events_checkpoints,
    "failed-job": failed_job,
    "find-after-lost-reply": find_after_lost_reply,
    "happy-path": happy_path,
    "lifecycle": lifecycle,
    "rate-limit": rate_limit,
}
