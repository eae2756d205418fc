"""``understudy deployments``: what stands, what it costs, and starting and stopping it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.exit_codes import ExitCode
from understudy.cli.opened import log_on_stderr, moment, open_project
from understudy.cli.output import note, print_json, say, show, table

if TYPE_CHECKING:
    from understudy.engine.deployments import DeploymentRecord
    from understudy.project import Project

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Deployments: what stands, what it costs, start, scale, stop.",
)

Name = Annotated[str, typer.Argument(help="Name of the deployment.")]
On = Annotated[str | None, typer.Option("--backend", help="Only this backend.")]
Detach = Annotated[
    bool, typer.Option("--detach", help="Record the wish, and leave the rest to a worker.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    *,
    idle: Annotated[
        str | None, typer.Option(help="Only those without a question for so long, such as 7d.")
    ] = None,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="Only those with our tags that no store here knows.")
    ] = False,
    backend: On = None,
    as_json: AsJson = False,
) -> int:
    """List what stands, with its cost by the hour and the day on which it goes."""
    from understudy.engine import deployments
    from understudy.validation import duration

    least = None if idle is None else duration(idle)
    with open_project(ctx) as project:
        now = project.config.clock.now()
        seen, problems = deployments.listing(
            project.store,
            project,
            project.prices,
            project.deploying(backend),
            now=now,
            only=backend,
        )
    chosen = [
        one
        for one in seen
        if (not orphans or one.whose == "orphan")
        and (least is None or (one.idle_since is not None and now - one.idle_since >= least))
    ]
    _print(chosen, now, as_json=as_json)
    for problem in problems:
        note(f"Warning: {problem}")
    untold = sum(one.idle_since is None for one in seen)
    if least is not None and untold:
        note(
            f"Of {untold} deployments the provider does not tell when they were last asked; "
            "`understudy doctor` shows whether a permission is missing."
        )
    return int(ExitCode.BACKEND if problems else ExitCode.OK)


def _print(chosen: list[DeploymentRecord], now: float, *, as_json: bool) -> None:
    records = [{**one.to_json(), "idle_days": one.idle_days(now)} for one in chosen]
    if as_json:
        print_json(records)
        return
    records = [record | _words(one, now) for record, one in zip(records, chosen, strict=True)]
    columns = ("name", "model", "purpose", "sku", "capacity", "state", "an hour", "since")
    more = ("idle", "deleted by service", "delete by", "owner", "backend", "whose")
    show(records, (*columns, *more), as_json=False)
    if not records:
        note("No deployments.")


def _words(one: DeploymentRecord, now: float) -> dict[str, Any]:
    from understudy.costs.money import format_usd

    idle = one.idle_days(now)
    return {
        "model": one.version or one.model,
        "an hour": "?" if one.hourly is None else format_usd(one.hourly),
        "since": one.since and moment(one.since),
        "idle": None if idle is None else f"{idle:.1f} days",
        "deleted by service": one.deleted_at and moment(one.deleted_at),
        "delete by": one.delete_by and moment(one.delete_by),
    }


@app.command("show")
def show_(ctx: typer.Context, name: Name, *, backend: On = None, as_json: AsJson = False) -> None:
    """Show all about one deployment that this store knows."""
    from understudy.engine import deployments

    with open_project(ctx) as project:
        with project.store.read() as tx:
            one = deployments.found(tx, name, backend=backend)
        now = project.config.clock.now()
    record = {**one.to_json(), "idle_days": one.idle_days(now)}
    if as_json:
        print_json(record)
        return
    facts = {**record, **_words(one, now), "model": one.model}
    rows = [(what, str(value)) for what, value in facts.items() if value not in (None, "")]
    table(("what", "figure"), rows)


@app.command()
def start(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="NAME@VERSION or its beginning, or an alias.")],
    *,
    sku: Annotated[str | None, typer.Option(help="Default: the backend's for serving.")] = None,
    capacity: Annotated[int | None, typer.Option(min=1, help="In the provider's units.")] = None,
    hours: Annotated[
        float | None,
        typer.Option(min=0.1, help="Take it down after so long; default: it stands until stopped."),
    ] = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> int:
    """Deploy a model version for applications; hosting is paid from its job's budget."""
    from understudy.engine import hosting
    from understudy.reports import find_model

    with log_on_stderr(), open_project(ctx) as project:
        with project.store.read() as tx:
            version = find_model(tx, model)
        one, new = hosting.start(project.engine(), version, sku=sku, capacity=capacity, hours=hours)
        if not new:
            note(f"{version.id} has {one.name} already, and it is {one.state}.")
        if not detach and one.state == "starting":
            one = _drive(project, one, "serving")
    return _tell(one, as_json=as_json)


@app.command()
def stop(
    ctx: typer.Context,
    name: Name,
    *,
    backend: On = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> int:
    """Delete a deployment and keep its model version; with --backend an orphan, too."""
    from understudy.engine import deployments, hosting
    from understudy.errors import ConfigError

    with log_on_stderr(), open_project(ctx) as project:
        try:
            with project.store.read() as tx:
                one = deployments.found(tx, name, backend=backend)
        except ConfigError:
            if backend is None:
                raise
            one = hosting.stop_orphan(project, name, backend=backend)
        else:
            if not one.ended:
                hosting.stop(project.engine(), one)
                one = one if detach else _drive(project, one, "stopped")
    return _tell(one, as_json=as_json)


@app.command()
def scale(
    ctx: typer.Context,
    name: Name,
    capacity: Annotated[int, typer.Argument(min=1, help="In the provider's units.")],
    *,
    backend: On = None,
) -> None:
    """Give a deployment another capacity."""
    from understudy.engine import deployments, hosting

    with open_project(ctx) as project:
        with project.store.read() as tx:
            one = deployments.found(tx, name, backend=backend)
        hosting.scale(project.engine(), one, capacity)
    say(f"{one.name} has capacity {capacity}.")


def _drive(project: Project, one: DeploymentRecord, wanted: str) -> DeploymentRecord:
    """Work on it in this process until it is ``wanted``, or needs a person."""
    from understudy.engine import Worker, deployments, hosting

    assert one.job is not None
    assert one.key is not None
    key = one.key
    worker = Worker(project.engine(), job_id=one.job, concurrency=1)

    def settled() -> bool:
        with project.store.read() as tx:
            return hosting.settled(tx, key, wanted=wanted)

    worker.run(until=settled)
    with project.store.read() as tx:
        return deployments.watch(tx, key)


def _tell(one: DeploymentRecord, *, as_json: bool) -> int:
    if as_json:
        print_json(one.to_json())
    else:
        end = "" if one.delete_by is None or one.ended else f" until {moment(one.delete_by)}"
        say(f"{one.name} of {one.version or one.model} is {one.state}{end}.")
    if one.problem:
        note(one.problem)
    elif one.state in {"starting", "stopping"}:
        note("`understudy worker` goes on with it.")
    return int(ExitCode.ATTENTION if one.problem else ExitCode.OK)
