"""What this distribution brings to understudy: data only, nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Iterable

from understudy.hookspecs import CommandSpec, hookimpl


@hookimpl
def understudy_commands() -> Iterable[CommandSpec]:
    """The demo and the sandbox server."""
    yield CommandSpec(
        name="demo",
        target="understudy_sandbox.demo.command:demo",
        help="Run the main job on generated calls against a sandbox on this machine.",
    )
    yield CommandSpec(
        name="serve sandbox",
        target="understudy_sandbox.cli:serve",
        help="Serve the sandbox: OpenAI's fine-tuning wire with a real learner, on loopback.",
    )
