"""A small project against a sandbox, and the command line called on it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from understudy.cli.app import run
from understudy.secrets import redact
from understudy_sandbox.launch import Sandbox

SPEED = 20
ANCHOR = time.time()
CLOCK = f"2027-03-01T00:00:00+00:00,{SPEED},{ANCHOR:.3f}"
BASE = "gpt-4o-mini-2024-07-18"

SETTINGS = """\
[worker]
poll_seconds = 2
poll_max_seconds = 4

[backends.box]
uses = "openai"
base_url = "{url}"
api_key_env = "BOX_KEY"
"""
RECIPE = """\
name = "{name}"
alias = "{name}"

[source]
kind = "chat"
path = "rows.jsonl"

[split]
train = 0.6
validation = 0.2
test = 0.2

[train]
backend = "box"
base_model = "{base}"

[train.hyperparameters]
n_epochs = 3

[evaluation]
bar = {bar}

[budget]
limit_usd = {limit}
"""
_ASKED = {
    "track": ("where is my {0}", "has my {0} been shipped", "track the {0} i ordered"),
    "refund": ("i want my money back for the {0}", "refund the {0}", "return this {0} for money"),
    "stock": ("do you have the {0} in stock", "is the {0} available", "when is the {0} back"),
}
_THINGS = ("lamp", "chair", "coat", "watch", "phone", "bag", "bike", "desk", "sofa", "mug")


def quick_sandbox(*, train_seconds: float) -> Sandbox:
    """A sandbox on the tests' fast clock."""
    return Sandbox(
        api_key="sk-planted-4f1c9a77e0b2",
        train_seconds=train_seconds,
        queue_seconds=1,
        validate_seconds=1,
        clock="2027-03-01T00:00:00+00:00",
        clock_speed=SPEED,
        clock_anchor=f"{ANCHOR:.3f}",
    )


def write_rows(path: Path, *, seed: int, count: int = 60) -> None:
    """Chat rows of three easy classes, made from a seed; one of them is broken."""
    chance = random.Random(seed)
    lines = []
    for number in range(count):
        answer = chance.choice(sorted(_ASKED))
        asked = chance.choice(_ASKED[answer]).format(chance.choice(_THINGS))
        messages = [
            {"role": "user", "content": f"{asked}, order {seed}-{number}"},
            {"role": "assistant", "content": answer},
        ]
        lines.append(json.dumps({"messages": messages}))
    lines.insert(7, '{"messages": [')
    path.write_text("\n".join(lines) + "\n")


@dataclass(frozen=True)
class Said:
    """What one call printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """Its output as the cells of tables."""
        return [line.split("\t") for line in self.out.splitlines()]


class Shop:
    """A project folder with settings, rows and a recipe, and a way to call ``understudy`` in it."""

    seeds = iter(range(1, 10_000))

    def __init__(
        self,
        sandbox: Sandbox,
        folder: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.sandbox, self.folder, self._capsys = sandbox, folder, capsys
        self.env = {"BOX_KEY": sandbox.api_key, "UNDERSTUDY_CLOCK": CLOCK}
        for name in ("UNDERSTUDY_CONFIG", "UNDERSTUDY_STORE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in self.env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(folder)
        (folder / "understudy.toml").write_text(SETTINGS.format(url=sandbox.url))
        # Every project has rows of its own: jobs and answers of other tests are not found again.
        write_rows(folder / "rows.jsonl", seed=next(self.seeds))
        self.write_recipe()

    def write_recipe(self, **changes: Any) -> None:
        """The recipe; keywords: name, base, bar, limit."""
        values = {"name": "intents", "base": BASE, "bar": 0.3, "limit": 5} | changes
        (self.folder / "recipe.toml").write_text(RECIPE.format(**values))

    def call(self, *argv: str) -> Said:
        """Run one command line in this process. The key must not appear in what it prints."""
        self._capsys.readouterr()
        code = run(list(argv))
        told = self._capsys.readouterr()
        assert self.sandbox.api_key not in told.out + told.err
        return Said(code, told.out, redact(told.err))

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start one command line in a process of its own; its stderr is to be read."""
        return subprocess.Popen(
            [sys.executable, "-m", "understudy.cli", *argv],
            cwd=self.folder,
            env={**os.environ, **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def job(self) -> dict[str, Any]:
        """The only job of the project."""
        (job,) = self.call("jobs", "list", "--json").json
        found: dict[str, Any] = job
        return found

    def remote_jobs(self, job_id: str) -> list[dict[str, Any]]:
        """The sandbox's jobs that were made for one of ours."""
        return [
            job
            for job in self.sandbox.state()["jobs"]
            if (job["metadata"] or {}).get("understudy_key", "").startswith(job_id)
        ]

    def billed(self) -> Decimal:
        """The sandbox's bill so far, in dollars."""
        return Decimal(self.sandbox.bill()["total_usd"])

    def work_until(self, state: str, seconds: float = 60) -> None:
        """Step what is due, again and again, until the job is in ``state``."""
        end = time.monotonic() + seconds
        while (job := self.job())["state"] != state:
            assert time.monotonic() < end, job
            self.call("worker", "--once")


def read_until(process: subprocess.Popen[str], word: str) -> str:
    """Lines of the process's stderr up to the first that holds ``word``."""
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if word in line:
            return seen
    raise AssertionError(f"{word!r} was not said:\n{seen}")


def ended(process: subprocess.Popen[str]) -> Said:
    """Wait for the process and collect the rest of what it says."""
    out, err = process.communicate(timeout=60)
    return Said(process.returncode, out, err)
