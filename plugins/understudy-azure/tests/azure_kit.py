"""A backend whose data plane is a function and whose ARM is a server of this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from pydantic import SecretStr

import openai_kit
from openai_kit import Clock
from understudy.model import DeploymentSpec
from understudy_azure.backend import AzureBackend
from understudy_azure.settings import AzureSettings

KEY = "azk-planted-0123456789abcdef"
TOKEN = "eyPlanted.token.0123456789"
ENDPOINT = "https://unit.openai.azure.com"
MODEL = "gpt-4o-mini-2024-07-18"
TUNED = f"{MODEL}.ft-0e208cf33a6a466994aff31a08aba678-unit"


class FakeTokens:
    """Hands out one token, and remembers what was asked."""

    def __init__(self) -> None:
        self.scopes: list[str] = []
        self.forgotten = 0

    def get(self, scope: str) -> str:
        self.scopes.append(scope)
        return TOKEN

    def for_data(self) -> str:
        return self.get("data")

    def forget(self) -> None:
        self.forgotten += 1

    def secrets(self) -> tuple[str, ...]:
        return (TOKEN,)

    def close(self) -> None:
        return


class Wire(openai_kit.Wire):
    """The data plane of either surface, from a script."""

    def stem(self, path: str) -> str:
        return path.removeprefix("/openai").removeprefix("/v1")

    def missing(self, path: str) -> httpx2.Response:
        return refusal(404, "Resource not found", "404")


def refusal(status: int, message: str, code: str, **headers: str) -> httpx2.Response:
    error = {"code": code, "message": message}
    return httpx2.Response(status, json={"error": error}, headers=headers)


class FakeWireBackend(openai_kit.OnWire, AzureBackend):
    """Azure's backend without a socket for its data plane."""


def make_backend(wire: Wire | None = None, **settings: Any) -> Any:
    given = {"endpoint": ENDPOINT, "api_key": SecretStr(KEY), **settings}
    backend = FakeWireBackend(name="azure", settings=AzureSettings(**given), clock=Clock())
    backend.wire = wire or Wire()
    fake = FakeTokens()
    backend.tokens = fake  # type: ignore[assignment]
    backend.arm._tokens = fake  # type: ignore[assignment]
    return backend


def job(number: int = 1, **fields: Any) -> dict[str, Any]:
    """A job as Azure shows it."""
    return {
        "object": "fine_tuning.job",
        "id": f"ftjob-{number}",
        "created_at": 1_700_000_000 + number,
        "model": MODEL,
        "status": "pending",
        "training_file": f"file-{number}",
        "hyperparameters": {"n_epochs": -1, "batch_size": -1, "learning_rate_multiplier": 1.0},
        "trained_tokens": None,
        "trainingType": "globalStandard",
    } | fields


def wanted(name: str = "unit-1", **fields: Any) -> DeploymentSpec:
    given: dict[str, Any] = {
        "name": name,
        "model": TUNED,
        "base_model": MODEL,
        "purpose": "evaluation",
        "owner": "worker@host",
        "delete_by": 1_800_003_600.0,
        **fields,
    }
    return DeploymentSpec(**given)


class Manager(ThreadingHTTPServer):
    """ARM by a script: (method, last part of the path) -> (status, body or text, headers)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.script: dict[tuple[str, str], list[Any]] = {}
        self.seen: list[tuple[str, str, dict[str, str], Any]] = []

    def on(self, method: str, last: str, *replies: Any) -> None:
        self.script[method, last] = list(replies)

    def count(self, method: str) -> int:
        return sum(one[0] == method for one in self.seen)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        server: Any = self.server
        length = int(self.headers.get("content-length") or 0)
        content = self.rfile.read(length) if length else b""
        parts = urlsplit(self.path)
        body = json.loads(content) if content else None
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        server.seen.append((self.command, parts.path, {**dict(self.headers), **query}, body))
        replies = server.script.get((self.command, parts.path.rsplit("/", 1)[-1]))
        missing = {"error": {"code": "ResourceNotFound", "message": "The Resource was not found."}}
        reply = (404, missing) if not replies else replies[0]
        if replies and len(replies) > 1:
            replies.pop(0)
        if reply == "drop":
            self.close_connection = True
            return
        status, given, *headers = reply
        data = b"" if given is None else given if isinstance(given, bytes) else _json(given)
        self.send_response(status)
        for name, value in (headers[0] if headers else {}).items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST = _answer  # noqa: N815 - the base class's

    def log_message(self, *_: object) -> None:
        return


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


@contextmanager
def managed() -> Iterator[Manager]:
    server = Manager()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def arm_backend(server: Manager, **settings: Any) -> Any:
    given = {
        "arm_endpoint": server.url,
        "subscription_id": "sub-1",
        "resource_group": "group-1",
        **settings,
    }
    return make_backend(**given)


def shown(name: str = "unit-1", state: str = "Succeeded", **fields: Any) -> dict[str, Any]:
    """A deployment as ARM shows it."""
    return {
        "id": f"/subscriptions/sub-1/deployments/{name}",
        "name": name,
        "sku": {"name": "DeveloperTier", "capacity": 50},
        "tags": {
            "understudy_key": "k-1",
            "understudy_owner": "worker@host",
            "understudy_purpose": "evaluation",
            "understudy_delete_by": "2027-01-15T09:00:00+00:00",
        },
        "systemData": {"createdAt": "2027-01-15T08:00:00.1234567Z"},
        "properties": {
            "model": {"format": "OpenAI", "name": TUNED, "version": "1"},
            "provisioningState": state,
        },
    } | fields
