"""``understudy plugins``."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from understudy.cli.context import session
from understudy.cli.output import note, show

__all__ = ["plugins"]


def plugins(
    ctx: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the plugins found, what they provide, and what is wrong with those that failed."""
    records = [
        {**dataclasses.asdict(info), "provides": list(info.provides)}
        for info in session(ctx).host.plugins()
    ]
    if as_json:
        show(records, (), as_json=True)
        return
    for record in records:
        record["provides"] = ", ".join(record["provides"])
    columns = ("name", "distribution", "version", "status", "provides", "reason", "fix")
    show(records, columns, as_json=False)
    if not records:
        note("No plugins are installed; try: pip install 'understudy[openai,sandbox]'")
