"""A provider in memory, and a backend over it that keeps the whole contract.

``FakeProvider`` is the server side: jobs that follow a script on an injected clock, a list that
lags, faults on demand, and counters of what it was asked. ``FakeBackend`` is what a plugin
author writes. Both may be used from several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from understudy.backend import Clock
from understudy.testing.clock import ManualClock

__all__ = ["SCRIPT", "FakeConnectionError", "FakeHTTPError", "FakeProvider"]

SCRIPT: tuple[tuple[float, str], ...] = (
    (0, "validating_files"),
    (5, "queued"),
    (10, "running"),
    (60, "succeeded"),
)
"""Seconds after the create from which a job says a status."""

_ENDED = ("succeeded", "failed", "cancelled")


class FakeHTTPError(Exception):
    """An answer that is not 200. ``body`` is what the provider wrote, secrets and all."""

    def __init__(self, status: int, body: str, *, retry_after: float | None = None) -> None:
        self.status, self.body, self.retry_after = status, body, retry_after
        super().__init__(f"HTTP {status}: {body}")


class FakeConnectionError(Exception):
    """The connection was cut before an answer came."""


@dataclass(kw_only=True)
class _Job:
    id: str
    body: Mapping[str, Any]
    created_at: float
    forced: str | None = None
    paused_at: float | None = None
    shift: float = 0.0


@dataclass(kw_only=True)
class _Fault:
    error: Exception
    creates_only: bool = False
    after: bool = False


@dataclass(kw_only=True)
class FakeProvider:
    """A fine-tuning provider in memory.

    Args:
        clock: its clock.
        secret: the API key that it accepts.
        list_lag: seconds that a new job is missing from the list.
        script: ``(seconds after create, status)`` in order, the life of every job.
        rejects_files: whether uploads end as failed.

    ``requests`` and ``paid_requests`` count what it was asked; ``billed_tokens`` is its bill.
    """

    clock: Clock = field(default_factory=ManualClock)
    secret: str = field(default="sk-fake-0123456789abcdef", repr=False)
    list_lag: float = 0.0
    script: Sequence[tuple[float, str]] = SCRIPT
    rejects_files: bool = False
    requests: int = 0
    paid_requests: int = 0
    jobs: dict[str, _Job] = field(default_factory=dict, repr=False)
    files: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    faults: list[_Fault] = field(default_factory=list, repr=False)
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    named: ClassVar[dict[str, FakeProvider]] = {}
    """Providers by the name that ``FakeBackend.Settings.provider`` gives, for backends that a
    plugin host makes; one is made on first use."""

    @classmethod
    def get(cls, name: str) -> FakeProvider:
        """The provider ``name`` of this process."""
        return cls.named.setdefault(name, cls())

    # What tests provoke and look at.

    def fail(self, error: Exception, *, creates_only: bool = False, after: bool = False) -> None:
        """Answer the next request (or create) with ``error``; ``after`` the effect took place."""
        with self.lock:
            self.faults.append(_Fault(error=error, creates_only=creates_only, after=after))

    def force(self, job_id: str, raw: str) -> None:
        """Let a job say ``raw`` from now on."""
        with self.lock:
            self.jobs[job_id].forced = raw

    def jobs_of(self, key: str) -> list[str]:
        """Ids of the jobs created under ``key``, oldest first."""
        with self.lock:
            return [job.id for job in self.jobs.values() if job.body["metadata"]["key"] == key]

    @property
    def billed_tokens(self) -> int:
        """Tokens of all jobs that succeeded."""
        return sum(self._view(job)["trained_tokens"] or 0 for job in self.jobs.values())

    # The wire.

    def upload(self, api_key: str, name: str, data: bytes) -> dict[str, Any]:
        """POST /files."""
        with self._request(api_key):
            file_id = f"file-{len(self.files) + 1}"
            status = "error" if self.rejects_files else "processed"
            self.files[file_id] = {"id": file_id, "name": name, "status": status}
            self.files[file_id]["bytes"] = len(data)
            return dict(self.files[file_id])

    def list_files(self, api_key: str) -> list[dict[str, Any]]:
        """GET /files."""
        with self._request(api_key):
            return [dict(file) for file in self.files.values()]

    def file(self, api_key: str, file_id: str) -> dict[str, Any]:
        """GET /files/{id}."""
        with self._request(api_key):
            return dict(_there(self.files, file_id))

    def create(self, api_key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST /jobs: the one request that costs money."""
        with self.lock:
            self.paid_requests += 1
        with self._request(api_key, create=True):
            job_id = f"job-{len(self.jobs) + 1}"
            self.jobs[job_id] = _Job(id=job_id, body=dict(body), created_at=self.clock.now())
            return self._view(self.jobs[job_id])

    def job(self, api_key: str, job_id: str) -> dict[str, Any]:
        """GET /jobs/{id}."""
        with self._request(api_key):
            return self._view(_there(self.jobs, job_id))

    def list_jobs(self, api_key: str) -> list[dict[str, Any]]:
        """GET /jobs, newest first, without those that are younger than ``list_lag``."""
        with self._request(api_key):
            seen = self.clock.now() - self.list_lag
            return [
                self._view(job) for job in reversed(self.jobs.values()) if job.created_at <= seen
            ]

    def act(self, api_key: str, job_id: str, action: str) -> dict[str, Any]:
        """POST /jobs/{id}/cancel, /pause or /resume; a job that has ended answers 409."""
        with self._request(api_key):
            job = _there(self.jobs, job_id)
            if self._status(job) in _ENDED:
                raise FakeHTTPError(409, f"{job_id} has ended")
            if action == "cancel":
                job.forced = "cancelled"
            elif action == "pause" and job.paused_at is None:
                job.paused_at = self.clock.now()
            elif action == "resume" and job.paused_at is not None:
                job.shift += self.clock.now() - job.paused_at
                job.paused_at = None
            return self._view(job)

    def events(self, api_key: str, job_id: str) -> list[dict[str, Any]]:
        """GET /jobs/{id}/events, oldest first: one for each status so far, one for each step."""
        with self._request(api_key):
            job = _there(self.jobs, job_id)
            age = self._age(job)
            return [
                {
                    "id": f"{job_id}-event-{number}",
                    "at": job.created_at + job.shift + after,
                    "message": f"the job is now {raw}",
                    "metrics": {"step": number, "loss": 1 / (number + 1)},
                }
                for number, (after, raw) in enumerate(self.script)
                if after <= age
            ]

    def checkpoints(self, api_key: str, job_id: str) -> list[dict[str, Any]]:
        """GET /jobs/{id}/checkpoints: two of every job that succeeded."""
        with self._request(api_key):
            job = self._view(_there(self.jobs, job_id))
            steps = (5, 10) if job["model"] else ()
            return [
                {"id": f"{job_id}-{s}", "step": s, "model": f"{job['model']}-{s}"} for s in steps
            ]

    def chat(self, api_key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST /chat: every model repeats the last message."""
        with self._request(api_key):
            last = str(body["messages"][-1].get("content", ""))
            words = max(1, len(last.split()))
            return {"content": last, "model": body["model"], "input": words, "output": words}

    def model(self, api_key: str, name: str) -> dict[str, Any]:
        """GET /models/{name}."""
        with self._request(api_key):
            return {"id": name, "shutdown_date": None, "owned_by": "fake"}

    def _request(self, api_key: str, *, create: bool = False) -> _Request:
        return _Request(self, api_key, create=create)

    def _age(self, job: _Job) -> float:
        until = self.clock.now() if job.paused_at is None else job.paused_at
        return until - job.created_at - job.shift

    def _status(self, job: _Job) -> str:
        if job.forced is not None:
            return job.forced
        if job.paused_at is not None:
            return "paused"
        age = self._age(job)
        return [raw for after, raw in self.script if after <= age][-1]

    def _view(self, job: _Job) -> dict[str, Any]:
        status = self._status(job)
        done = status == "succeeded"
        return {
            **job.body,
            "id": job.id,
            "status": status,
            "created_at": job.created_at,
            "model": f"ft:{job.body['base_model']}:{job.id}" if done else None,
            "trained_tokens": job.body.get("tokens", 0) if done else None,
            "error": {"code": "boom", "message": "it broke"} if status == "failed" else None,
        }


class _Request:
    """One request: counts, checks the key, and answers with the next fault where there is one."""

    def __init__(self, provider: FakeProvider, api_key: str, *, create: bool) -> None:
        self.provider, self.api_key, self.create = provider, api_key, create
        self.late: Exception | None = None

    def __enter__(self) -> None:
        provider = self.provider
        with provider.lock:
            provider.requests += 1
            for fault in provider.faults:
                if self.create or not fault.creates_only:
                    provider.faults.remove(fault)
                    if not fault.after:
                        raise fault.error
                    self.late = fault.error
                    break
            if self.api_key != provider.secret:
                raise FakeHTTPError(401, f"incorrect API key provided: {self.api_key}")
        provider.lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.provider.lock.release()
        if self.late is not None and kind is None:
            raise self.late


def _there(things: Mapping[str, Any], name: str) -> Any:
    if name not in things:
        raise FakeHTTPError(404, f"{name} does not exist")
    return things[name]
