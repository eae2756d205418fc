"""``understudy precompute``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from understudy.cli.exit_codes import ExitCode
from understudy.cli.opened import log_on_stderr, moment, open_project
from understudy.cli.output import note, print_json, progress, say, show, table

if TYPE_CHECKING:
    from understudy.batch import Plan, PrecomputeEstimate, RunReport
    from understudy.project import Project

__all__ = ["app"]


class _RunByDefault(TyperGroup):
    """``precompute RECIPE`` is ``precompute run RECIPE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name where it was left out."""
        if args and args[0] not in {*self.commands, "--help"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    help="Answer known inputs by batch and publish the answers as a cache generation.",
)

_COLUMNS = ("id", "name", "state", "asked", "answered", "to_do", "apart", "coverage", "spent_usd")
_Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]
_RunId = Annotated[str, typer.Argument(help="The run: its id, the beginning of it, or its name.")]


@app.command()
def run(
    ctx: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="The recipe, a TOML file.")],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan and say what it costs; send nothing.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Submit, and leave the rest to `understudy worker`.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="A further run although these inputs had one.")
    ] = False,
    strict: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Publish only if this share of the keys is answered."),
    ] = None,
    as_json: _Json = False,
) -> int:
    """Precompute a recipe. Killed or stopped, running it again goes on where it was."""
    from understudy.batch import estimate, run_report, start

    with log_on_stderr(), open_project(ctx) as project:
        engine = project.engine()
        plan = _plan(project, recipe, strict, again=again, quiet=as_json)
        figures = estimate(engine, plan)
        if not as_json:
            _show_plan(plan, figures)
        if dry_run:
            if as_json:
                print_json(_plan_json(plan, figures))
            return ExitCode.OK
        started, new = start(engine, plan)
        told = "is submitted" if new else f"is there already, and it is {started.state.value}"
        note(f"Run {started.id} {told}.")
        if detach:
            note("`understudy worker` drives it; `understudy precompute show` follows it.")
        elif not started.state.ended:
            _follow(project, started.id, quiet=as_json)
        report = run_report(project.store, started.id)
        _show_report(report, as_json=as_json)
        return ExitCode.OK if detach else _code(report)


def _plan(project: Project, path: Path, strict: float | None, *, again: bool, quiet: bool) -> Plan:
    from understudy.batch import load_precompute, make_plan

    recipe = load_precompute(path)
    if strict is not None:
        publish = recipe.publish.model_copy(update={"coverage": strict})
        recipe = recipe.model_copy(update={"publish": publish})
    with progress("rows planned", quiet=quiet) as bar:
        return make_plan(
            project.engine(),
            project.cache,
            recipe,
            again=again,
            progress=lambda stage, done: bar.update(done, stage),
        )


def _plan_json(plan: Plan, figures: PrecomputeEstimate) -> dict[str, Any]:
    planned = plan.planned
    return {
        "id": plan.id,
        "model": plan.pinned.version,
        "via": plan.way.via,
        "cache": plan.cache,
        "rows": planned.rows,
        "rejected": planned.rejected,
        "duplicates": planned.duplicates,
        "known": planned.known,
        "asked": planned.asked,
        "folder": plan.folder,
        "estimate": figures.to_json(),
    }


def _show_plan(plan: Plan, figures: PrecomputeEstimate) -> None:
    from understudy.costs.money import format_usd

    planned = plan.planned
    cost = f"{format_usd(figures.expected)} / {format_usd(figures.at_most)}"
    say(f"{plan.id}: {plan.pinned.version} by {plan.way.via}, into cache {plan.cache}")
    rows = [
        ("rows", f"{planned.rows:,}"),
        ("rejected", f"{planned.rejected:,}"),
        ("duplicates", f"{planned.duplicates:,}"),
        ("in the cache already", f"{planned.known:,}"),
        ("to ask", f"{planned.asked:,}"),
        ("batches", f"{figures.batches:,}"),
        ("prompt tokens", f"{figures.input_tokens:,}"),
        ("cost expected / at most", cost),
        ("the same live", format_usd(figures.live)),
        ("the teacher", "" if figures.teacher is None else format_usd(figures.teacher)),
        ("hours at most", f"{figures.hours_at_most:,.1f}"),
    ]
    table(("plan", ""), rows)
    for line in figures.notes:
        note(f"Note: {line}")
    if planned.rejected:
        note(f"Rejected rows with their reasons: {plan.folder / 'rejects.jsonl'}")


def _follow(project: Project, run_id: str, *, quiet: bool) -> None:
    """Drive the run in this process until nothing more happens to it by itself."""
    from understudy.cli.following_runs import drive_run

    drive_run(project, run_id, quiet=quiet)


def _show_report(report: RunReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_json())
        return
    account, run = report.account, report.run
    say(f"{run.id} is {run.state.value}")
    rows = [
        (name, getattr(account, name))
        for name in ("rows", "rejected", "duplicates", "known", "answered", "refused")
    ]
    rows += [(name, getattr(account, name)) for name in ("invalid", "failed", "to_do")]
    rows += [("coverage", f"{account.coverage:.4f}"), ("batches", account.batches)]
    rows += [("asked again", account.asked_again), ("spent", f"${account.spent_usd:f}")]
    if account.guessed_usd:
        rows.append(("of it by the provider's count", f"${account.guessed_usd:f}"))
    if account.counted_here:
        rows.append(("answers counted on this side", account.counted_here))
    rows += _result_rows(run.result or {})
    table(("account", ""), rows)
    if run.problem:
        note(f"Needs attention: {run.problem['message']}")
        note(f"Mend that, then `understudy precompute retry {run.id}`.")
    for reason in (run.result or {}).get("reasons", ()):
        note(f"Withheld: {reason}. `understudy precompute publish {run.id}` publishes it anyway.")


def _result_rows(result: Any) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    saved, sample = result.get("saved", {}), result.get("sample", {})
    if saved:
        rows.append(("saved against live", f"${saved['against_live_usd']}"))
    if saved.get("against_teacher_usd"):
        rows.append(("saved against the teacher", f"${saved['against_teacher_usd']}"))
    if sample.get("agreement") is not None:
        agreement = f"{sample['agreement']:.3f} of {sample['answered']}"
        rows.append(("agrees with live answers", agreement))
    elif sample.get("note"):
        rows.append(("agrees with live answers", sample["note"]))
    if "generation" in result:
        rows.append(("published", f"{result['cache']} {result['generation']}"))
    return rows


def _code(report: RunReport) -> int:
    codes = {
        "needs_attention": ExitCode.ATTENTION,
        "withheld": ExitCode.REJECTED,
        "cancelled": ExitCode.JOB_CANCELLED,
    }
    return codes.get(report.run.state.value, ExitCode.OK)


@app.command("list")
def list_(ctx: typer.Context, *, as_json: _Json = False) -> None:
    """All precompute runs, newest first."""
    from understudy.batch import run_reports

    with open_project(ctx) as project:
        lines = [report.line() for report in run_reports(project.store)]
    show(lines, _COLUMNS, as_json=as_json)


@app.command("show")
def show_(ctx: typer.Context, run: _RunId, *, as_json: _Json = False) -> None:
    """What became of every row of a run, what it cost, and its history."""
    from understudy.batch import run_report

    with open_project(ctx) as project:
        report = run_report(project.store, run)
    _show_report(report, as_json=as_json)
    if not as_json:
        for one in report.history:
            note(f"{moment(one.at)} {one.to_state}: {one.cause}")


@app.command()
def cancel(ctx: typer.Context, run: _RunId) -> None:
    """Stop a run; batches that run are cancelled, and what they did is kept."""
    from understudy import batch

    with open_project(ctx) as project:
        cancelled = batch.cancel(project.engine(), run)
    note(f"{cancelled.id} is {cancelled.state.value}; a worker cancels what is out.")


@app.command()
def retry(ctx: typer.Context, run: _RunId) -> None:
    """Go on with a run that needs attention or was cancelled."""
    from understudy import batch

    with open_project(ctx) as project:
        back = batch.retry(project.engine(), run)
    note(f"{back.id} is {back.state.value} again; a worker goes on with it.")


@app.command()
def publish(ctx: typer.Context, run: _RunId) -> None:
    """Publish a withheld generation as it is."""
    from understudy import batch

    with open_project(ctx) as project:
        back = batch.publish_anyway(project.engine(), run)
        _follow(project, back.id, quiet=False)
        report = batch.run_report(project.store, back.id)
    _show_report(report, as_json=False)
