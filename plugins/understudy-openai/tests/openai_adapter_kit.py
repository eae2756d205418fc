"""The suite's hands at a sandbox, for every backend that drives one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from openai_sandbox_kit import SECRET, ThreadSandbox
from understudy.backend import Backend
from understudy.model import Handle, JobSpec, RemoteState
from understudy.testing import ManualClock, ProviderAdapter, chat_rows
from understudy_openai import OpenAIBackend, OpenAISettings
from understudy_openai.plugin import understudy_backends

CREATE, RETRIEVE = "fine_tuning.jobs.create", "fine_tuning.jobs.retrieve"
BATCH = "batches.create"
STATUSES = {
    "validating_files": RemoteState.QUEUED,
    "queued": RemoteState.QUEUED,
    "running": RemoteState.RUNNING,
    "pausing": RemoteState.PAUSING,
    "paused": RemoteState.PAUSED,
    "succeeded": RemoteState.SUCCEEDED,
    "failed": RemoteState.FAILED,
    "cancelled": RemoteState.CANCELLED,
}
WAYS = {
    "running": {"validating_files", "queued"},
    "paused": {"pausing"},
    "succeeded": {"validating_files", "queued", "running"},
}
"""A status to those from which time alone leads to it."""


class SandboxAdapter(ProviderAdapter):
    """Hands at a sandbox of this process."""

    backend_spec = next(understudy_backends())
    secret = SECRET
    statuses = STATUSES

    def __init__(self, sandbox: ThreadSandbox) -> None:
        self.sandbox = sandbox
        self.made: list[OpenAIBackend] = []

    def fresh_backend(self) -> Backend:
        settings = OpenAISettings(api_key=SecretStr(SECRET), base_url=self.sandbox.url)
        self.made.append(OpenAIBackend(name="mine", settings=settings, clock=ManualClock()))
        return self.made[-1]

    def lent(self) -> Iterator[ProviderAdapter]:
        """It, for a fixture; the backends that it made are closed afterwards."""
        yield self
        for backend in self.made:
            backend.close()

    def spec(self, folder: Path) -> JobSpec:
        rows = chat_rows(folder / "train.jsonl")
        chosen = {"n_epochs": 2}
        return JobSpec(
            base_model="gpt-4o-mini-2024-07-18",
            method="supervised",
            training=rows,
            hyperparameters=chosen,
        )

    def requests(self) -> int:
        return sum(self.sandbox.state()["requests"].values())

    def paid_requests(self) -> int:
        made = self.sandbox.state()["requests"]
        return int(made.get(CREATE, 0)) + int(made.get(BATCH, 0))

    def count_jobs(self, key: str) -> int:
        keys = [
            (one["metadata"] or {}).get("understudy_key") for one in self.sandbox.state()["jobs"]
        ]
        return keys.count(key)

    def count_files(self) -> int:
        return int(self.sandbox.state()["files"])

    def make_status(self, handle: Handle, raw: str) -> None:
        self.sandbox.faults()
        real = self.sandbox.status(handle.id)
        live = real not in {"succeeded", "failed", "cancelled"}
        if real in WAYS.get(raw, ()):
            # What it leaves by itself must not be stepped over.
            self.sandbox.until(handle.id, raw, step=5 if raw == "succeeded" else 0.5)
        elif raw in {"failed", "cancelled"} and live:
            do = "fail_job" if raw == "failed" else "cancel_job"
            self.fault(on=RETRIEVE, do=do, message="The rows were refused.")
            self.fresh_backend().poll(handle)
            self.sandbox.until(handle.id, raw, step=0.5)
            self.sandbox.faults()
        elif real != raw:
            self.fault(on=RETRIEVE, do="status", value=raw, times=None)

    def fault(self, **rule: Any) -> None:
        self.sandbox.faults(rule)

    def fail_before_create(self) -> None:
        self.fault(on=CREATE, do="error")

    def fail_after_create(self) -> None:
        self.fault(on=CREATE, do="error_after")

    def lose_reply(self) -> None:
        self.fault(on=CREATE, do="drop_after")

    def rate_limit(self, seconds: float) -> None:
        self.fault(do="error", status=429, retry_after=seconds)

    def echo_secret(self) -> None:
        self.fault(do="echo_key")

    def wait(self, seconds: float) -> None:
        self.sandbox.advance(seconds)
        if seconds > 30:
            # Training is real work: what is due by now is let end, so that looks agree.
            self.sandbox.finish()

    def count_batches(self, key: str) -> int:
        runs = self.sandbox.state()["batch_runs"]
        return [(one["metadata"] or {}).get("understudy_key") for one in runs].count(key)

    def fail_after_batch(self) -> None:
        self.fault(on=BATCH, do="error_after")

    def lose_batch_reply(self) -> None:
        self.fault(on=BATCH, do="drop_after")

    def starve_batch(self) -> None:
        self.fault(on=BATCH, do="over_quota")

    def expire_batch(self) -> None:
        self.fault(on=BATCH, do="expire_batch", fraction=0.5)

    def break_download(self) -> None:
        self.fault(on="files.content", do="truncate")

    def lose_batch_files(self, handle: Handle) -> None:
        client = self.made[0].client
        batch = client.batches.retrieve(handle.id)
        for name in filter(None, (batch.output_file_id, batch.error_file_id)):
            client.files.delete(name)
