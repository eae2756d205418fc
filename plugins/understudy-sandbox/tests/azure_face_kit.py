"""What the Azure tests share: one sandbox over TLS, clients of both surfaces, ARM by hand."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import openai

from understudy_sandbox.azure.settings import ACCOUNT, RESOURCE_GROUP, SUBSCRIPTION
from understudy_sandbox.launch import Sandbox

VERSION = "2025-04-01-preview"
GLOBAL = {"trainingType": "GlobalStandard"}
ARM_SCOPE = "https://management.azure.com"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}"
ACCOUNTS = f"{GROUP}/providers/Microsoft.CognitiveServices/accounts"
LOCATIONS = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.CognitiveServices/locations"
ASK: list[Any] = [{"role": "user", "content": "track order red boots"}]


def reach(look: Callable[[], Any], step: Callable[[], object], wanted: set[str]) -> Any:
    """Step until what is looked at has one of the statuses; real time is for the learner alone."""
    deadline = time.monotonic() + 40
    while True:
        found = look()
        if found.status in wanted:
            return found
        assert time.monotonic() < deadline, f"{found.id} stays {found.status}, not {wanted}"
        step()


class Azure:
    """A running sandbox with its Azure clients."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        trusted = ssl.create_default_context(cafile=str(sandbox.ca_file))
        self.classic = openai.AzureOpenAI(
            azure_endpoint=sandbox.azure_url,
            api_key=sandbox.api_key,
            api_version=VERSION,
            max_retries=0,
        )
        self.v1 = openai.OpenAI(
            base_url=f"{sandbox.azure_url}/openai/v1", api_key=sandbox.api_key, max_retries=0
        )
        self.http = httpx.Client(base_url=sandbox.tls_url, verify=trusted, timeout=30)

    def close(self) -> None:
        for client in (self.classic, self.v1, self.http):
            client.close()

    def data(self, method: str, path: str, **more: Any) -> httpx.Response:
        """A plain request to the classic data plane."""
        headers = {"api-key": self.sandbox.api_key, **more.pop("headers", {})}
        query = {"api-version": VERSION, **more.pop("params", {})}
        return self.http.request(method, f"/openai{path}", headers=headers, params=query, **more)

    def arm(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: dict[str, str] | None = None,
        **headers: str,
    ) -> httpx.Response:
        """A plain request to Resource Manager, with a token of now."""
        headers.setdefault("Authorization", f"Bearer {self.sandbox.token(ARM_SCOPE)}")
        query = {"api-version": "2025-06-01", **(params or {})}
        return self.http.request(method, path, json=body, headers=headers, params=query)

    def put(self, name: str, model: str, *, account: str = ACCOUNT, **more: Any) -> httpx.Response:
        """PUT a deployment; ``version``, ``sku``, ``capacity``, ``source``, ``tags``."""
        shown = {"format": "OpenAI", "name": model, "version": more.get("version", "1")}
        if "source" in more:
            shown["source"] = more["source"]
        body = {
            "sku": {"name": more.get("sku", "GlobalStandard"), "capacity": more.get("capacity", 1)},
            "properties": {"model": shown},
            "tags": more.get("tags"),
        }
        return self.arm("PUT", f"{ACCOUNTS}/{account}/deployments/{name}", body)

    def deploy(self, name: str, model: str, **more: Any) -> None:
        """PUT a deployment and push the clock on until it is there."""
        made = self.put(name, model, **more)
        assert made.status_code in {200, 201}, made.text
        self.sandbox.advance(31)

    def drop(self, name: str) -> None:
        """DELETE a deployment and let it be gone."""
        assert self.arm("DELETE", f"{ACCOUNTS}/{ACCOUNT}/deployments/{name}").status_code < 300
        self.sandbox.advance(3)

    def state(self, name: str) -> str | None:
        """The provisioning state of a deployment; None where there is none."""
        reply = self.arm("GET", f"{ACCOUNTS}/{ACCOUNT}/deployments/{name}")
        if reply.status_code == 404:
            return None
        return str(reply.json()["properties"]["provisioningState"])

    def reach(self, look: Callable[[], Any], *wanted: str, step: float = 5.0) -> Any:
        """Push the clock on until what is looked at has one of the statuses."""
        return reach(look, lambda: self.sandbox.advance(step), set(wanted))

    def upload(self, rows: bytes, purpose: Any = "fine-tune") -> str:
        """Upload a file and let it be processed."""
        made = self.classic.files.create(file=("rows.jsonl", rows), purpose=purpose)
        self.sandbox.advance(1)
        return str(made.id)

    def create(self, file: str, model: str = "gpt-4o-mini", **more: Any) -> Any:
        """Create a job on the classic surface, in the global tier unless told otherwise."""
        extra = {"trainingType": more.pop("tier", "GlobalStandard")}
        return self.classic.fine_tuning.jobs.create(
            model=model, training_file=file, extra_body=extra, **more
        )

    def bill(self, kind: str, ref: str) -> list[dict[str, Any]]:
        """Entries of one kind for one thing."""
        entries = self.sandbox.bill()["entries"]
        return [e for e in entries if e["kind"] == kind and e["ref"] == ref]


def lines(made: list[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in made)
