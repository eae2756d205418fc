"""``understudy demo``: the main job on generated calls, against a sandbox on this machine."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from understudy_sandbox.clock import parse_start
from understudy_sandbox.demo.calls import write_calls
from understudy_sandbox.demo.local import demo_local
from understudy_sandbox.launch import Sandbox

_KEY_NAME = "UNDERSTUDY_SANDBOX_KEY"
_CLOCK = "UNDERSTUDY_CLOCK"
_SETTINGS = """\
[worker]
poll_seconds = 0.5
poll_max_seconds = 2

[backends.sandbox]
uses = "openai"
base_url = "{url}"
api_key_env = "{key_name}"
"""
_LOCAL_CALLS = 600
"""A real student takes seconds a step: it learns from fewer."""
# Exit codes of runs that came to their report, which names the provider already.
_REPORTED = frozenset({6, 7, 8, 9})
_LAST_LINE = (
    "The provider was the understudy sandbox on this machine: its learner, its clock and its "
    "bill are its own, and no figure above is OpenAI's."
)


def write_project(folder: Path, url: str, *, seed: int, calls: int) -> Path:
    """Write the demo's call log, settings and recipe into a folder; where the recipe is."""
    folder.mkdir(parents=True, exist_ok=True)
    write_calls(folder / "calls.jsonl", seed, calls)
    settings = _SETTINGS.format(url=url, key_name=_KEY_NAME)
    (folder / "understudy.toml").write_text(settings, encoding="utf-8")
    recipe = folder / "recipe.toml"
    shipped = files("understudy_sandbox.demo").joinpath("recipe.toml")
    recipe.write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    return recipe


def shared_clock(text: str | None) -> tuple[str | None, dict[str, Any]]:
    """One clock for the sandbox and for understudy, out of ``UNDERSTUDY_CLOCK``.

    Returns:
        The variable with its anchor filled in, and the sandbox's options that say the same.

    Raises:
        BadParameter: it says no clock.
    """
    if not text:
        return None, {}
    start, speed, anchor = [*text.split(","), "", ""][:3]
    speed, anchor = speed or "1", anchor or f"{time.time():.6f}"
    try:
        parse_start(start)
        float(speed), float(anchor)
    except ValueError:
        raise typer.BadParameter(
            f"{_CLOCK} is {text!r}; write ISO-TIME[,SPEED[,ANCHOR]], such as 2028-01-01,60"
        ) from None
    options = {"clock": start, "clock_speed": speed, "clock_anchor": anchor}
    return f"{start},{speed},{anchor}", options


def demo(
    *,
    folder: Annotated[Path, typer.Option(help="Where the demo's project is written.")] = Path(
        "understudy-demo"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the call log.")] = 7,
    calls: Annotated[int, typer.Option(min=200, help="Calls in the log.")] = 1600,
    local: Annotated[
        bool, typer.Option("--local", help="Train an open student here; needs understudy-local.")
    ] = False,
) -> None:
    """Run the main job, from a call log to a verdict, on a sandbox on this machine."""
    if local:
        raise typer.Exit(demo_local(folder, seed=seed, calls=min(calls, _LOCAL_CALLS)))
    key = secrets.token_urlsafe(24)
    clock, options = shared_clock(os.environ.get(_CLOCK))
    sandbox = Sandbox(
        folder / "sandbox",
        api_key=key,
        train_seconds=6,
        queue_seconds=0.5,
        validate_seconds=0.5,
        **options,
    )
    with sandbox:
        recipe = write_project(folder, sandbox.url, seed=seed, calls=calls)
        typer.echo(f"A sandbox provider listens at {sandbox.url}; the project is in {folder}.")
        env = {**os.environ, _KEY_NAME: key}
        if clock:
            env[_CLOCK] = clock
        code = subprocess.run(  # noqa: S603 - our own interpreter and package
            [sys.executable, "-m", "understudy.cli", "run", recipe.name],
            cwd=folder,
            env=env,
            check=False,
        ).returncode
    if code and code not in _REPORTED:
        typer.echo(_LAST_LINE)
    raise typer.Exit(code)
