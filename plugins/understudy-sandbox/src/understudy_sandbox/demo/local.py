"""``understudy demo --local``: the main job on an open student, with no provider at all.

The work is understudy-local's; here is only the project, and one question at the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

import typer

from understudy_sandbox.demo.calls import SYSTEM, write_calls

__all__ = ["demo_local"]

_SETTINGS = """\
[worker]
poll_seconds = 0.5
poll_max_seconds = 2

[backends.local]
home = "local"
"""
_ALIAS = "query-understanding-local"
_QUESTION = "red sneakers by Norwick under $80 in Marport"
_LAST_LINE = "The student was trained, exported, judged and asked on this machine alone."


def demo_local(folder: Path, *, seed: int, calls: int) -> int:
    """Write the project into ``folder``, run it, and chat with the student; the exit code.

    Raises:
        BadParameter: the plugin that trains is not installed.
    """
    try:
        distribution("understudy-local")
    except PackageNotFoundError:
        raise typer.BadParameter(
            "--local needs understudy-local: see its README, or run `make demo-local`"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    write_calls(folder / "calls.jsonl", seed, calls)
    shipped = files("understudy_sandbox.demo").joinpath("recipe_local.toml")
    (folder / "recipe.toml").write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    home = (folder / "local").resolve()
    settings = _SETTINGS.replace('"local"', json.dumps(str(home)))
    (folder / "understudy.toml").write_text(settings, encoding="utf-8")
    typer.echo(f"The project is in {folder}; everything happens on this machine.")
    code = _understudy(folder, "run", "recipe.toml").returncode
    if code == 0:
        _chat(folder, home)
        typer.echo(_LAST_LINE)
    return code


def _understudy(folder: Path, *line: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "understudy.cli", *line]
    return subprocess.run(command, cwd=folder, check=False, text=True, **options)  # noqa: S603


def _chat(folder: Path, home: Path) -> None:
    """Serve what the alias points at, and ask it one question, as an application would."""
    told = _understudy(folder, "models", "show", _ALIAS, "--json", stdout=subprocess.PIPE).stdout
    model = json.loads(told)["model"]
    server = subprocess.Popen(  # noqa: S603 - our own interpreter and package
        [sys.executable, "-m", "understudy.cli", "serve", "local", model],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "UNDERSTUDY_LOCAL_HOME": str(home)},
    )
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        typer.echo(f"`understudy serve local {model}` answers at {url}")
        typer.echo(f"  {_QUESTION}\n  -> {_ask(url, model)}")
    finally:
        server.terminate()
        server.wait()


def _ask(url: str, model: str) -> str:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": _QUESTION}]
    body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": 96}
    request = urllib.request.Request(  # noqa: S310 - the address is our own process's
        f"{url}/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
        return str(json.loads(reply.read())["choices"][0]["message"]["content"])
