"""A backend whose wire is a function: no socket, every request kept. Azure's kit builds on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import openai
from pydantic import SecretStr

from understudy.model import Handle, JobSpec, Rows
from understudy_openai import OpenAIBackend, OpenAISettings

KEY = "sk-test-planted-0123456789"


class Clock:
    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def now(self) -> float:
        return self.time


class Wire:
    """Answers requests from a script of (method, path) -> replies, the last one again and again."""

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []
        self.script: dict[tuple[str, str], list[Any]] = {}

    def on(self, method: str, path: str, *replies: Any) -> None:
        self.script[method, path] = list(replies)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.requests.append(request)
        path = self.stem(request.url.path)
        replies = self.script.get((request.method, path))
        if not replies:
            return self.missing(path)
        reply = replies[0] if len(replies) == 1 else replies.pop(0)
        reply = reply(request) if callable(reply) else reply
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, httpx2.Response) else httpx2.Response(200, json=reply)

    def stem(self, path: str) -> str:
        """The part of a path that scripts name."""
        return path.removeprefix("/v1")

    def missing(self, path: str) -> httpx2.Response:
        """What the provider says of a path that it does not have."""
        reply: httpx2.Response = error(404, f"no such path {path}")
        return reply

    def count(self, method: str, path: str) -> int:
        return sum(r.method == method and r.url.path == f"/v1{path}" for r in self.requests)

    def body(self, index: int = -1) -> Any:
        return json.loads(self.requests[index].content)


def error(
    status: int, message: str, *, headers: dict[str, str] | None = None, **fields: Any
) -> Any:
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return httpx2.Response(status, json={"error": body | fields}, headers=headers)


class Direct(httpx2.BaseTransport):
    """Hands requests over as they are; the SDK's own mock reads their bodies first."""

    def __init__(self, answer: Callable[[httpx2.Request], httpx2.Response]) -> None:
        self._answer = answer

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._answer(request)


class OnWire(OpenAIBackend):
    """A backend, or one derived from it, without a socket."""

    wire: Wire

    def transport(self) -> httpx2.Client:
        transport = Direct(self.wire)
        return openai.DefaultHttpxClient(follow_redirects=False, transport=transport)


def make_backend(wire: Callable[[httpx2.Request], httpx2.Response], **settings: Any) -> Any:
    chosen = OpenAISettings(**{"api_key": SecretStr(KEY), **settings})
    backend = OnWire(name="openai", settings=chosen, clock=Clock())
    backend.wire = wire  # type: ignore[assignment]
    return backend


def rows_of(path: Path, *, count: int = 12, words: str = "order") -> Rows:
    """A file of generated chat rows; counts are of no account here."""
    lines = [
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"{words} {number}"},
                    {"role": "assistant", "content": "yes" if number % 2 else "no"},
                ]
            }
        )
        for number in range(count)
    ]
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(data)
    return Rows(
        path=str(path), sha256="0" * 64, rows=count, tokens=count * 20, longest=20, bytes=len(data)
    )


def unit_spec(folder: Path) -> JobSpec:
    """A small job with all that a user may say of one."""
    return JobSpec(
        base_model="gpt-4o-mini-2024-07-18",
        method="supervised",
        training=rows_of(folder / "train.jsonl"),
        hyperparameters={"n_epochs": 2},
        suffix="unit",
        seed=7,
        metadata={"team": "search"},
    )


def job(number: int = 1, **fields: Any) -> dict[str, Any]:
    """A job as the wire shows it."""
    return {
        "object": "fine_tuning.job",
        "id": f"ftjob-{number}",
        "created_at": 1_700_000_000 + number,
        "finished_at": None,
        "fine_tuned_model": None,
        "model": "gpt-4o-mini-2024-07-18",
        "organization_id": "org-1",
        "result_files": [],
        "status": "queued",
        "trained_tokens": None,
        "training_file": f"file-{number}",
        "validation_file": None,
        "error": {},
        "seed": 7,
        "metadata": None,
    } | fields


JOBS = "/fine_tuning/jobs"
FILES = Handle(kind="upload", id="file-1", data={"training_file": "file-1"})
JOB = Handle(kind="job", id="ftjob-1", data={"created_at": 1_700_000_001})


def page(*found: Any, more: bool | None = False) -> dict[str, Any]:
    body = {"object": "list", "data": [*found], "has_more": more}
    return {name: value for name, value in body.items() if value is not None}


def paged(found: list[dict[str, Any]]) -> Callable[[httpx2.Request], dict[str, Any]]:
    """A list that honours ``after`` and ``limit``."""

    def answer(request: httpx2.Request) -> dict[str, Any]:
        after, limit = request.url.params.get("after"), int(request.url.params["limit"])
        ids = [one["id"] for one in found]
        start = ids.index(after) + 1 if after else 0
        return page(*found[start : start + limit], more=start + limit < len(found))

    return answer
