"""``understudy run``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.exit_codes import code_for_state
from understudy.cli.following import ENDED, Sights, drive, leaves_something
from understudy.cli.opened import log_on_stderr, open_project
from understudy.cli.output import note, print_json, progress
from understudy.cli.report import prepared_json, show_prepared, show_report
from understudy.states import State

if TYPE_CHECKING:
    from understudy.engine.jobs import JobRecord
    from understudy.engine.looking import CurvePoint
    from understudy.pipeline import Prepared
    from understudy.project import Project

__all__ = ["finish", "prepare", "run"]


def run(
    ctx: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="The recipe, a TOML file.")],
    *,
    detach: Annotated[
        bool, typer.Option("--detach", help="Submit, and leave the rest to `understudy worker`.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Train anew although this run exists already.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> int:
    """Run a recipe to its verdict. Killed or stopped, running it again goes on where it was."""
    from understudy.pipeline import start_run

    sights = Sights()
    with log_on_stderr(), open_project(ctx) as project:
        prepared = prepare(project, recipe, quiet=as_json)
        if not as_json:
            show_prepared(prepared)
        engine = project.engine(notify=sights.notify)
        job, new = start_run(project, engine, prepared, again=again)
        _tell(job, recipe, new=new)
        if detach:
            return _detached(job, prepared, new=new, as_json=as_json)
        state = job.state
        if state not in ENDED or leaves_something(project, job.id):
            state = drive(project, engine, job.id, sights, quiet=as_json)
        finish(project, job.id, as_json=as_json)
        return code_for_state(state)


def prepare(project: Project, recipe: Path, *, quiet: bool, online: bool = True) -> Prepared:
    """Load the recipe and prepare its run, with a count of the rows read so far."""
    from understudy.pipeline import prepare_run
    from understudy.recipe import load_recipe

    loaded = load_recipe(recipe)
    with progress("rows read", quiet=quiet) as bar:
        return prepare_run(project, loaded, online=online, progress=bar.update)


def _tell(job: JobRecord, recipe: Path, *, new: bool) -> None:
    if new:
        note(f"Job {job.id} is submitted.")
    elif job.state in ENDED:
        note(
            f"This run is {job.id} already, and it is {job.state.value}; nothing was sent. "
            f"`understudy run {recipe} --again` trains anew."
        )
    else:
        note(f"This run is {job.id} already, and it is {job.state.value}; it goes on there.")
    if job.state is State.PAUSED:
        note(f"It waits until `understudy jobs resume {job.id}` is said.")


def _detached(job: JobRecord, prepared: Prepared, *, new: bool, as_json: bool) -> int:
    if as_json:
        told = {"id": job.id, "state": job.state, "new": new}
        print_json({**prepared_json(prepared), "job": told})
    if job.state not in ENDED:
        note(f"`understudy worker` drives it; `understudy jobs watch {job.id}` follows it.")
    return code_for_state(job.state)


def finish(project: Project, job_id: str, *, as_json: bool) -> None:
    """Print the report of a job, and what to do where it needs attention."""
    from understudy.reports import job_report

    report = job_report(project, job_id)
    if as_json:
        print_json(report.to_json())
    else:
        show_report(report, _curve(project, job_id))
    if report.job.state is State.NEEDS_ATTENTION:
        note(
            f"{job_id} needs attention. Mend what the problem says, then "
            f"`understudy jobs retry {job_id}`, and run the recipe again."
        )


def _curve(project: Project, job_id: str) -> Sequence[CurvePoint]:
    """The training curve, or a line that says why there is none: the report stands without it."""
    from understudy.errors import UnderstudyError
    from understudy.reports import training_curve

    try:
        return training_curve(project, job_id)
    except UnderstudyError as error:
        note(f"No training curve: {error}")
        return ()
