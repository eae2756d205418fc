"""Langfuse's API of a sandbox, asked plainly; and spans as OTLP's JSON has them."""

from __future__ import annotations

import json
from typing import Any

import httpx2 as httpx

from understudy_sandbox.launch import Sandbox

PUBLIC_KEY = "pk-lf-understudy-sandbox"
START = 1_780_000_000  # Unix seconds


class Langfuse:
    """A client without an SDK: what is on the wire is what a test sees."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.http = httpx.Client(
            base_url=f"{sandbox.url.removesuffix('/v1')}/api/public",
            auth=(PUBLIC_KEY, sandbox.api_key),
            timeout=30,
        )

    def get(self, path: str, **query: Any) -> Any:
        reply = self.http.get(path, params=query)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def post(self, path: str, body: Any, status: int = 200) -> Any:
        reply = self.http.post(path, json=body)
        assert reply.status_code == status, reply.text
        return reply.json()

    def observations(self, *conditions: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
        """All observations of the conditions, page by page."""
        if conditions:
            query["filter"] = json.dumps(conditions)
        found: list[dict[str, Any]] = []
        while True:
            page = self.get("/v2/observations", **query)
            found += page["data"]
            if "cursor" not in page["meta"]:
                return found
            query["cursor"] = page["meta"]["cursor"]

    def write(self, *spans: dict[str, Any]) -> None:
        self.post("/otel/v1/traces", export(*spans))

    def close(self) -> None:
        self.http.close()


def export(*spans: dict[str, Any]) -> dict[str, Any]:
    scope = {"name": "test", "version": "1"}
    return {"resourceSpans": [{"scopeSpans": [{"scope": scope, "spans": list(spans)}]}]}


def span(number: int, **attributes: Any) -> dict[str, Any]:
    at = (START + number) * 10**9
    return {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": attributes.pop("name", "call"),
        "startTimeUnixNano": str(at),
        "endTimeUnixNano": str(at + 1_500_000_000),
        "attributes": [{"key": k, "value": value_of(v)} for k, v in attributes.items()],
    }


def value_of(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"arrayValue": {"values": [value_of(one) for one in value]}}
    kinds = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
    return {kinds[type(value)]: str(value) if type(value) is int else value}


def of_type(*kinds: str) -> dict[str, Any]:
    return {"type": "stringOptions", "column": "type", "operator": "any of", "value": list(kinds)}
