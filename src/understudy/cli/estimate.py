"""``understudy estimate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.opened import open_project
from understudy.cli.output import note, print_json
from understudy.cli.report import prepared_json, show_prepared
from understudy.cli.run import prepare

__all__ = ["estimate"]


def estimate(
    ctx: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="The recipe, a TOML file.")],
    *,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask the provider when the model ends.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a run would train on and may cost. Nothing is sent."""
    with open_project(ctx) as project:
        prepared = prepare(project, recipe, quiet=as_json, online=not offline)
        if as_json:
            print_json(prepared_json(prepared))
        else:
            show_prepared(prepared)
            if prepared.closed:
                note(f"Warning: no new job could start now: {prepared.closed}")
