"""``understudy jobs cancel | pause | resume | retry | attach``: what a person may ask of a job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.opened import full_id, open_project
from understudy.cli.output import note, say
from understudy.cli.run import prepare
from understudy.errors import ConfigError
from understudy.states import TERMINAL, State

if TYPE_CHECKING:
    from understudy.engine import Engine

__all__ = ["attach", "cancel", "pause", "resume", "retry"]

Job = Annotated[str, typer.Argument(help="Id of the job, or its beginning.")]


def cancel(ctx: typer.Context, job: Job) -> None:
    """Stop a job. What the provider has done by then is billed."""
    from understudy.engine import commands

    _wish(ctx, job, commands.cancel)


def pause(ctx: typer.Context, job: Job) -> None:
    """Pause training at the provider."""
    from understudy.engine import commands

    _wish(ctx, job, commands.pause)


def resume(ctx: typer.Context, job: Job) -> None:
    """Go on with a paused job."""
    from understudy.engine import commands

    _wish(ctx, job, commands.resume)


def _wish(ctx: typer.Context, job: str, ask: Callable[[Engine, str], State]) -> None:
    with open_project(ctx) as project:
        job_id = full_id(project, job)
        state = ask(project.engine(), job_id)
    _say(job_id, state, "passes it on to the provider")


def _say(job_id: str, state: State, then: str) -> None:
    say(f"{job_id} is {state.value}.")
    if state not in TERMINAL:
        note(
            f"A worker {then}: the one that drives it now, `understudy worker`, or "
            "`understudy run RECIPE`."
        )


def retry(
    ctx: typer.Context,
    job: Job,
    *,
    resubmit: Annotated[
        bool,
        typer.Option(
            "--resubmit",
            help="You have looked, and the provider has no such job: submit it once more.",
        ),
    ] = False,
) -> None:
    """Go on with a job that needs attention, at the stage where it stopped."""
    from understudy.engine import commands, jobs

    with open_project(ctx) as project:
        job_id = full_id(project, job)
        with project.store.read() as tx:
            problem = jobs.get(tx, job_id).problem
        state = commands.retry(project.engine(), job_id, resubmit=resubmit)
    if problem:
        note(f"It had stopped because: {problem['message']}")
    _say(job_id, state, "goes on from there")


def attach(
    ctx: typer.Context,
    job: Annotated[str, typer.Argument(help="The job; with --recipe, the provider's job id.")],
    remote_id: Annotated[str | None, typer.Argument(help="The provider's job id.")] = None,
    *,
    recipe: Annotated[
        Path | None,
        typer.Option(help="Take in a job that was made elsewhere; judge it as this recipe says."),
    ] = None,
) -> None:
    """Name the provider's job of one whose submission is in doubt, or take in a foreign job."""
    if recipe is None and remote_id is None:
        raise ConfigError(
            f"say which of the provider's jobs belongs to {job}: `understudy jobs attach {job} "
            f"REMOTE_ID`; or, to take {job} in from the provider, add --recipe RECIPE"
        )
    if recipe is not None and remote_id is not None:
        raise ConfigError(
            "with --recipe the job is new: give the provider's job id alone, or leave out --recipe"
        )
    if recipe is not None:
        _adopt(ctx, job, recipe)
    else:
        assert remote_id is not None
        _attach(ctx, job, remote_id)


def _attach(ctx: typer.Context, job: str, remote_id: str) -> None:
    from understudy.engine import commands

    with open_project(ctx) as project:
        job_id = full_id(project, job)
        state = commands.attach(project.engine(), job_id, remote_id)
    _say(job_id, state, "goes on from there")


def _adopt(ctx: typer.Context, remote_id: str, recipe: Path) -> None:
    from understudy.pipeline import adopt_run

    with open_project(ctx) as project:
        prepared = prepare(project, recipe, quiet=False)
        made = adopt_run(project, project.engine(), prepared, remote_id)
    note(
        f"Nobody here knows which rows {remote_id} was trained on: if this recipe's held-out rows "
        "were among them, its score will be too high."
    )
    _say(made.id, made.state, "watches, registers and evaluates it")
