"""``understudy models``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.opened import full_id, moment, open_project
from understudy.cli.output import note, print_json, say, show, table

if TYPE_CHECKING:
    from understudy.store.registry import AliasMove

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Model versions and the aliases that name them.",
)

Reference = Annotated[str, typer.Argument(help="NAME@VERSION or its beginning, or an alias.")]
Alias = Annotated[str, typer.Argument(help="The alias.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """List model versions, oldest first."""
    from understudy.reports import model_summary
    from understudy.store import registry

    with open_project(ctx) as project, project.store.read() as tx:
        named = registry.aliases(tx)
        records = []
        for model in registry.list_models(tx):
            judged = registry.history(tx, model.id)
            own = [alias for alias, target in named if target == model.id]
            passed = judged[0]["passed"] if judged else None
            records.append({**model_summary(model), "passed": passed, "aliases": own})
    if as_json:
        print_json(records)
        return
    for record in records:
        record["verdict"] = _word(record["passed"])
        record["aliases"] = ", ".join(record["aliases"])
        record["registered"] = moment(record["created_at"])
        record["served by"] = record["owner"]
    columns = ("id", "model", "backend", "served by", "verdict", "aliases", "registered")
    show(records, columns, as_json=False)
    if not records:
        note("No model versions; `understudy run RECIPE` trains and registers one.")


def _word(passed: bool | None) -> str:
    return {True: "passed", False: "rejected", None: "not evaluated"}[passed]


@app.command("show")
def show_(ctx: typer.Context, reference: Reference, *, as_json: AsJson = False) -> None:
    """Show a model version: where it comes from, and every evaluation with its verdict."""
    from understudy.reports import find_model, model_summary
    from understudy.store import registry

    with open_project(ctx) as project, project.store.read() as tx:
        model = find_model(tx, reference)
        judged = registry.history(tx, model.id)
        own = [alias for alias, target in registry.aliases(tx) if target == model.id]
    if as_json:
        lineage = dict(model.lineage)
        print_json(
            {**model_summary(model), "lineage": lineage, "aliases": own, "evaluations": judged}
        )
        return
    table(("what", "figure"), _facts({**model_summary(model), "aliases": ", ".join(own)}))
    table(("lineage", "value"), _facts(dict(model.lineage)))
    table(("evaluated", "dataset", "subject", "score", "n", "verdict"), _scores(judged))
    for row in judged[:1]:
        for reason in row["reasons"]:
            say(reason)


def _facts(values: dict[str, Any]) -> list[tuple[str, str]]:
    shown = (
        {**values, "created_at": moment(values["created_at"])} if "created_at" in values else values
    )
    rows: list[tuple[str, str]] = []
    for name, value in shown.items():
        if isinstance(value, dict):
            rows += [(f"{name}.{inner}", text) for inner, text in _facts(value)]
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            # Exported files, as far as lineage goes: each under its own name.
            named = {str(one.get("format", at)): one for at, one in enumerate(value)}
            rows += [(f"{name}.{inner}", text) for inner, text in _facts(named)]
        elif value not in (None, (), []):
            rows.append((name, str(value)))
    return rows


def _scores(judged: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for row in judged:
        for subject in row["report"]["subjects"]:
            interval = subject["interval"]
            score = f"{interval['mean']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})"
            word = _word(row["passed"]) if subject["subject"] == "student" else ""
            place = (moment(row["at"]), row["dataset_id"], subject["subject"])
            rows.append((*place, score, interval["n"], word))
    return rows


@app.command()
def register(
    ctx: typer.Context,
    job: Annotated[str, typer.Argument(help="Id of the job, or its beginning.")],
    *,
    checkpoint: Annotated[str, typer.Option(help="Id of the checkpoint, or its step.")],
) -> None:
    """Make a model version of a job's checkpoint. It is not evaluated by this."""
    from understudy.engine import adopting

    with open_project(ctx) as project:
        model = adopting.register_checkpoint(project.engine(), full_id(project, job), checkpoint)
    say(f"{model.id} is {model.model}.")
    note("It has no verdict, so an alias moves to it only with --force.")


@app.command()
def alias(
    ctx: typer.Context,
    name: Alias,
    reference: Annotated[
        str | None, typer.Argument(help="The version to point at; without it, show the moves.")
    ] = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Move it without a passing verdict; kept on record.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Point an alias at a version with a passing verdict, or show every move it made."""
    from understudy.reports import find_model
    from understudy.store import registry

    _require_name(name)
    with open_project(ctx) as project:
        if reference is None:
            with project.store.read() as tx:
                _history(registry.alias_moves(tx, name), registry.aliases(tx), name, as_json)
            return
        with project.store.write() as tx:
            move = registry.move_alias(
                tx,
                alias=name,
                model_id=find_model(tx, reference).id,
                cause="moved by a person",
                at=project.config.clock.now(),
                force=force,
            )
    _moved(move, as_json=as_json)


def _require_name(name: str) -> None:
    import re

    from understudy.errors import ConfigError
    from understudy.recipe import NAME

    if not re.fullmatch(NAME, name):
        raise ConfigError(
            f"{name!r} cannot be an alias; write it with a-z, 0-9, '.', '_' and '-', a letter or "
            "digit first, and at most 63 of them"
        )


def _history(
    moves: list[AliasMove], known: list[tuple[str, str]], name: str, as_json: bool
) -> None:
    from dataclasses import asdict

    from understudy.errors import ConfigError
    from understudy.validation import nearest

    if not moves:
        names = [alias for alias, _ in known]
        raise ConfigError(f"there is no alias {name!r}: {nearest(name, names)}")
    records = [asdict(move) for move in moves]
    for record in [] if as_json else records:
        record |= {"time": moment(record["at"]), "from": record["from_model"]}
        record |= {"to": record["to_model"], "forced": "forced" if record["forced"] else ""}
    show(records, ("time", "from", "to", "cause", "forced"), as_json=as_json)


def _moved(move: AliasMove, *, as_json: bool = False) -> None:
    from dataclasses import asdict

    if as_json:
        print_json(asdict(move))
        return
    came = f"; it was {move.from_model}" if move.from_model else ""
    say(f"{move.alias} points at {move.to_model}{came}.")
    if move.forced and move.cause != "rollback":
        note("Its version has no passing verdict; that it was forced is kept on record.")


@app.command()
def rollback(ctx: typer.Context, name: Alias) -> None:
    """Point an alias back at the version that it had before."""
    from understudy.store import registry

    with open_project(ctx) as project, project.store.write() as tx:
        move = registry.rollback_alias(tx, alias=name, at=project.config.clock.now())
    _moved(move)
