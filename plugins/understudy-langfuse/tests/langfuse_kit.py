"""A project in the sandbox, filled span by span, and what the core collects from it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx

from understudy.clock import SystemClock
from understudy.data.sources.collect import collect
from understudy.model import (
    ChatReply,
    ChatRequest,
    TracedCall,
    TraceRecord,
    Usage,
)
from understudy_langfuse.options import LangfuseOptions
from understudy_langfuse.settings import LangfuseSettings
from understudy_langfuse.source import LangfuseSource
from understudy_sandbox.launch import Sandbox

PUBLIC_KEY = "pk-lf-understudy-sandbox"
START = 1_780_000_000  # Unix seconds; calls begin here, one a second


class Waits:
    """Stands in for sleeping: remembers how long it was asked to."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def root(sandbox: Sandbox) -> str:
    return sandbox.url.removesuffix("/v1")


def settings(sandbox: Sandbox, **changes: Any) -> LangfuseSettings:
    given = {"public_key": PUBLIC_KEY, "secret_key": sandbox.api_key, "base_url": root(sandbox)}
    return LangfuseSettings(**{**given, **changes})


def source(sandbox: Sandbox, *, waits: Waits | None = None, **options: Any) -> LangfuseSource:
    """A source that never sleeps; ``settings_of`` changes settings."""
    changes = options.pop("settings_of", {})
    made = LangfuseSource(
        settings=settings(sandbox, **changes),
        options=LangfuseOptions(**options),
        clock=options.pop("clock", None) or SystemClock(),
    )
    made.sleep = waits or Waits()  # type: ignore[method-assign]
    return made


def span(number: int, **changes: Any) -> dict[str, Any]:
    """A generation as OTLP's JSON has it: call ``number`` asks ``q<number>``."""
    given = {
        "langfuse.observation.type": "generation",
        "langfuse.observation.input": json.dumps([{"role": "user", "content": f"q{number}"}]),
        "langfuse.observation.output": json.dumps({"role": "assistant", "content": f"a{number}"}),
        "langfuse.observation.model.name": "gpt-4o",
        **changes,
    }
    at = (START + number) * 10**9
    return {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": given.pop("name", "triage"),
        "startTimeUnixNano": str(at),
        "endTimeUnixNano": str(at + 10**9),
        "attributes": [{"key": k, "value": _value(v)} for k, v in given.items()],
        "status": {},
    }


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(one) for one in value]}}
    return {"stringValue": value}


def answered(name: str, at: float = START, **changes: Any) -> TracedCall:
    """A call that was answered here."""
    given: dict[str, Any] = {
        "request": ChatRequest(
            model="gpt-4o",
            messages=({"role": "user", "content": f"ask {name}"},),
            sampling={"temperature": 0},
        ),
        "reply": ChatReply(
            message={"role": "assistant", "content": f"answer {name}"},
            finish_reason="stop",
            usage=Usage(input=10, output=4, cached=6),
            model="gpt-4o-2024-08-06",
        ),
        **changes,
    }
    return TracedCall(id=name, name="triage", began=at, ended=at + 0.5, **given)


def send(sandbox: Sandbox, spans: Iterable[dict[str, Any]]) -> None:
    body = {"resourceSpans": [{"scopeSpans": [{"scope": {}, "spans": list(spans)}]}]}
    reply = httpx.post(
        f"{root(sandbox)}/api/public/otel/v1/traces",
        json=body,
        auth=(PUBLIC_KEY, sandbox.api_key),
        headers={"x-langfuse-ingestion-version": "4"},
        timeout=60,
    )
    assert reply.status_code == 200, reply.text


def seed(sandbox: Sandbox, numbers: Iterable[int], **changes: Any) -> None:
    """Write the calls of these numbers, in one request."""
    send(sandbox, [span(number, **changes) for number in numbers])


def asked(records: Iterable[TraceRecord]) -> list[str]:
    """What the calls asked, in their order."""
    return [record.value["messages"][-1]["content"] for record in records]


class Landing:
    """Calls that the core collected into a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pull(self, of: LangfuseSource) -> int:
        """Collect all that is new; how much that was."""
        return collect(of, self.path).new

    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line)["value"] for line in self.path.read_bytes().splitlines()]
