"""``understudy estimate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.opened import open_project
from understudy.cli.output import note, print_json, say, table
from understudy.cli.report import prepared_json, show_prepared
from understudy.cli.run import prepare

if TYPE_CHECKING:
    from decimal import Decimal

    from understudy.costs.compare import Comparison
    from understudy.pipeline import Prepared
    from understudy.project import Project

__all__ = ["estimate"]


def estimate(
    ctx: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="The recipe, a TOML file.")],
    *,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask the provider when the model ends.")
    ] = False,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Also every tier of the provider, and the break-even."),
    ] = False,
    teacher: Annotated[
        str | None, typer.Option(help="Compare with it; default: the call log's main model.")
    ] = None,
    calls_a_day: Annotated[
        int | None, typer.Option(min=1, help="Traffic, for what a day would cost.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a run would train on and may cost. Nothing is sent."""
    with open_project(ctx) as project:
        prepared = prepare(project, recipe, quiet=as_json, online=not offline)
        beside = _compare(project, prepared, teacher, calls_a_day) if compare else None
    if as_json:
        told = {"comparison": beside.to_json()} if beside else {}
        print_json({**prepared_json(prepared), **told})
        return
    show_prepared(prepared)
    if prepared.closed:
        note(f"Warning: no new job could start now: {prepared.closed}")
    if beside is not None:
        _show(beside)


def _compare(
    project: Project, prepared: Prepared, teacher: str | None, a_day: int | None
) -> Comparison:
    from understudy.comparing import compare

    return compare(project, prepared, teacher=teacher, a_day=a_day)


def _show(beside: Comparison) -> None:
    from understudy.costs.money import format_usd

    def money(amount: Decimal | None) -> str:
        return "?" if amount is None else format_usd(amount)

    calls = beside.calls
    rows = max(calls.rows, 1)
    size = f"{calls.tokens.input // rows:,} tokens in and {calls.tokens.output // rows:,} out"
    columns = ["tier", "training", "hosting an hour", "1,000 calls", "break-even a day"]
    columns += ["a day"] if calls.a_day else []
    lines = []
    for tier in beside.tiers:
        even = "never" if tier.break_even is None else f"{tier.break_even:,} calls"
        cells = [tier.tier, money(tier.training), money(tier.hourly), money(tier.a_thousand)]
        cells += [even if beside.teacher and tier.a_thousand is not None else "?"]
        lines.append([*cells, money(tier.day)] if calls.a_day else cells)
    table(columns, lines, title="Tiers")
    say(f"  A call is taken as the held-out rows are: {size}.")
    if beside.teacher is None:
        say("  No teacher is known; name one with --teacher for the break-even traffic.")
    else:
        say(f"  1,000 calls of {beside.teacher} cost {money(beside.teacher_thousand)}.")
    for tier in beside.tiers:
        for line in tier.notes:
            say(f"  {tier.tier}: {line}")
    for source in beside.sources:
        say(f"  {source}")
