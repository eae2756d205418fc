"""``understudy jobs``: list, show, events, watch, checkpoints; steering is in ``steering``."""

from __future__ import annotations

from typing import Annotated

import typer

from understudy.cli.exit_codes import code_for_state
from understudy.cli.following import follow
from understudy.cli.opened import full_id, moment, open_project
from understudy.cli.output import note, print_json, show, table
from understudy.cli.run import finish
from understudy.cli.steering import attach, cancel, pause, resume, retry
from understudy.errors import ConfigError
from understudy.states import State

__all__ = ["app"]

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List, follow and steer jobs.")

Job = Annotated[str, typer.Argument(help="Id of the job, or its beginning.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    *,
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    from understudy.engine import jobs
    from understudy.reports import job_summary
    from understudy.validation import nearest

    known = [one.value for one in State]
    if state is not None and state not in known:
        raise ConfigError(f"there is no state {state!r}: {nearest(state, known)}")
    with open_project(ctx) as project, project.store.read() as tx:
        found = jobs.list_jobs(tx, state=state, limit=limit)
    records = [job_summary(job) for job in found]
    if not as_json:
        for record in records:
            record["updated"] = moment(record["updated_at"])
            record["problem"] = (record["problem"] or {}).get("message")
    columns = ("id", "name", "state", "backend", "base_model", "model", "updated", "problem")
    show(records, columns, as_json=as_json)
    if not records:
        note("No jobs; `understudy run RECIPE` makes one.")


@app.command("show")
def show_(ctx: typer.Context, job: Job, *, as_json: AsJson = False) -> None:
    """Show all about one job: rows, cost, training curve, scores, verdict, model, alias."""
    with open_project(ctx) as project:
        finish(project, full_id(project, job), as_json=as_json)


@app.command()
def events(
    ctx: typer.Context,
    job: Job,
    *,
    provider: Annotated[
        bool, typer.Option("--provider", help="The provider's training log instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a job's history: every transition with its cause, oldest first."""
    from dataclasses import asdict

    from understudy.engine import jobs
    from understudy.engine.looking import TrainingLog

    with open_project(ctx) as project:
        job_id = full_id(project, job)
        if provider:
            records = [
                asdict(event) for event in TrainingLog(project.store, project, job_id).look()
            ]
        else:
            with project.store.read() as tx:
                records = [asdict(event) for event in jobs.history(tx, job_id)]
    if as_json:
        print_json(records)
        return
    for record in records:
        record["time"] = moment(record["at"])
    ours = ("time", "event", "from_state", "to_state", "cause", "worker")
    show(records, ("time", "level", "message") if provider else ours, as_json=False)


@app.command()
def watch(ctx: typer.Context, job: Job, *, as_json: AsJson = False) -> int:
    """Follow a job until it ends or needs attention. Only looks: a worker must drive it."""
    with open_project(ctx) as project:
        job_id = full_id(project, job)
        state = follow(project, job_id, quiet=as_json)
        finish(project, job_id, as_json=as_json)
    return code_for_state(state)


@app.command()
def checkpoints(ctx: typer.Context, job: Job, *, as_json: AsJson = False) -> None:
    """List the models of earlier steps that the provider keeps."""
    from dataclasses import asdict

    from understudy.engine import looking

    with open_project(ctx) as project:
        job_id = full_id(project, job)
        found = looking.checkpoints(project.store, project, job_id)
    if as_json:
        print_json([asdict(item) for item in found])
        return
    rows = [
        [item.step, item.id, item.model, ", ".join(f"{k} {v}" for k, v in item.metrics.items())]
        for item in found
    ]
    table(("step", "id", "model", "metrics"), rows)
    if found:
        note(f"`understudy models register {job_id} --checkpoint STEP` makes one a model version.")
    else:
        note("No checkpoints; they appear when training has ended.")


for command in (cancel, pause, resume, retry, attach):
    app.command()(command)
