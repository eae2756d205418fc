"""Start a sandbox for a test, a demo or a harness, and speak to its own routes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

from understudy_sandbox.config import DEFAULT_KEY

_START_SECONDS = 60.0


class SandboxError(RuntimeError):
    """The sandbox did not start, or its own routes refused a request."""


class Sandbox:
    """A sandbox in a process of its own.

    Use it as a context manager, or call ``start`` and ``stop``. The data folder outlives it
    unless it was made here, so ``kill`` and ``restart`` show what a crash leaves.

    Args:
        data: folder of the state; a temporary one by default.
        api_key: key that clients must send.
        options: further options of ``python -m understudy_sandbox`` by name, such as
            ``train_seconds=5`` or ``clock="2028-03-01"``; a list repeats the option, True is a
            flag (``tls=True``).

    Attributes:
        url: base URL for an OpenAI client, ending in ``/v1``.
        azure_url: the same server's root: what ``AzureOpenAI`` calls ``azure_endpoint``.
        tls_url: the root again, over TLS; empty unless it listens so.
        ca_file: what a client must trust to use ``tls_url``; None unless it listens so.
    """

    def __init__(
        self, data: Path | None = None, *, api_key: str = DEFAULT_KEY, **options: Any
    ) -> None:
        self._own = tempfile.TemporaryDirectory() if data is None else None
        self.data = Path(self._own.name) if self._own else Path(str(data))
        self.api_key = api_key
        self._options = options
        self._port = int(options.pop("port", 0))
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.tls_url = ""
        self.ca_file: Path | None = None

    def __repr__(self) -> str:
        return f"Sandbox(url={self.url!r}, pid={self.pid})"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()
        if self._own is not None:
            self._own.cleanup()

    @property
    def azure_url(self) -> str:
        """The server's root, without TLS."""
        return self.url.removesuffix("/v1")

    def token(self, audience: str = "https://cognitiveservices.azure.com") -> str:
        """A bearer token of the sandbox's Entra, such as for ``https://management.azure.com``."""
        query = urllib.parse.urlencode({"resource": audience, "api-version": "2018-02-01"})
        request = urllib.request.Request(  # noqa: S310 - the address is our own process's
            f"{self.azure_url}/metadata/identity/oauth2/token?{query}",
            headers={"Metadata": "true"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
            return str(json.loads(reply.read())["access_token"])

    @property
    def pid(self) -> int | None:
        """Process id, or None where it does not run."""
        return self._process.pid if self._process else None

    def _command(self) -> list[str]:
        command = [
            sys.executable,
            "-m",
            "understudy_sandbox",
            "--data",
            str(self.data),
            "--port",
            str(self._port),
        ]
        for name, value in self._options.items():
            for one in value if isinstance(value, list | tuple) else [value]:
                flag = f"--{name.replace('_', '-')}"
                if one is not False:
                    command += [flag] if one is True else [flag, str(one)]
        return command

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            SandboxError: it ended instead; the message ends with its error output.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        log = (self.data / "server.log").open("a+")
        # The key goes by environment: a command line is open to every user of the machine.
        env = {**os.environ, "UNDERSTUDY_SANDBOX_KEY": self.api_key}
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            self._command(), stdout=subprocess.PIPE, stderr=log, env=env, text=True
        )
        log.close()
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(_START_SECONDS)
            self._process.stdout.close()
            self._process = None
            said = (self.data / "server.log").read_text()[-2000:]
            raise SandboxError(f"the sandbox in {self.data} did not start:\n{said}")
        said = json.loads(line)
        self.url = said["url"]
        # A restart must come back at the addresses that clients know.
        self._port = int(self.url.rsplit(":", 1)[1].split("/")[0])
        if "tls_url" in said:
            self.tls_url, self.ca_file = said["tls_url"], Path(said["ca_file"])
            self._options["tls_port"] = int(self.tls_url.rsplit(":", 1)[1])
        return self

    def _end(self, signal_name: str) -> None:
        if self._process is None:
            return
        getattr(self._process, signal_name)()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None

    def stop(self) -> None:
        """End it in an orderly way."""
        self._end("terminate")

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self._end("kill")

    def restart(self) -> Self:
        """Start it again on the same state and port; a running one is killed first."""
        self.kill()
        return self.start()

    def admin(self, path: str, body: Any = None) -> Any:
        """Ask one of its own routes: GET, or POST with a body.

        Args:
            path: such as ``state`` for ``/sandbox/state``.
            body: what to post, as JSON.

        Raises:
            SandboxError: it refused; the message holds its answer.
        """
        root = self.url.removesuffix("/v1")
        request = urllib.request.Request(  # noqa: S310 - the address is our own process's
            f"{root}/sandbox/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.api_key}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
                return json.loads(reply.read())
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode()
            raise SandboxError(f"/sandbox/{path} answered {error.code}: {said}") from None

    def faults(self, *rules: dict[str, Any]) -> None:
        """Put a fault script in place; without rules, take it away."""
        self.admin("faults", list(rules))

    def fault_counts(self) -> list[dict[str, Any]]:
        """The rules with what they saw and how often they fired."""
        found: list[dict[str, Any]] = self.admin("faults")["rules"]
        return found

    def held(self) -> list[dict[str, Any]]:
        """The requests held now."""
        found: list[dict[str, Any]] = self.admin("held")["held"]
        return found

    def release(self, name: str | None = None) -> int:
        """Let a held request go on, or all; how many that were."""
        return int(self.admin("release", {} if name is None else {"id": name})["released"])

    def advance(self, seconds: float) -> None:
        """Push the clock on by sandbox seconds."""
        self.admin("clock", {"advance": seconds})

    def now(self) -> float:
        """Sandbox time in Unix seconds."""
        return float(self.admin("clock")["now"])

    def bill(self) -> dict[str, Any]:
        """The bill: entries and exact total in dollars."""
        found: dict[str, Any] = self.admin("bill")
        return found

    def state(self) -> dict[str, Any]:
        """Counts by status, jobs, files, requests by operation."""
        found: dict[str, Any] = self.admin("state")
        return found

    def key(self, *, expired: bool) -> None:
        """Refuse the API key from now on, or take it again."""
        self.admin("key", {"expired": expired})
