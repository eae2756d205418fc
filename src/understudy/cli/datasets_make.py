"""``understudy datasets collect``, ``build``, ``golden`` and ``export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.opened import open_project
from understudy.cli.output import note, print_json, progress, say

if TYPE_CHECKING:
    from understudy.data.engine import Engine

__all__ = ["add_commands"]

RecipeFile = Annotated[Path, typer.Argument(help="The recipe, a TOML file.")]
Reference = Annotated[str, typer.Argument(help="Id of the dataset, or its beginning.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Where(StrEnum):
    LOCAL = "local"
    RAY = "ray"


class By(StrEnum):
    LABEL = "label"
    LENGTH = "length"
    NONE = "none"


class To(StrEnum):
    OPENAI = "openai"
    VERTEX = "vertex"
    TRL = "trl"


def add_commands(app: typer.Typer) -> None:
    """Put the commands that make things into the group."""
    for name, command in (
        ("collect", collect),
        ("build", build),
        ("golden", golden),
        ("export", export),
    ):
        app.command(name)(command)


def collect(ctx: typer.Context, recipe: RecipeFile, *, as_json: AsJson = False) -> None:
    """Pull what a service has logged since the last time into the recipe's source.path."""
    from understudy.collecting import collect_calls
    from understudy.recipe import load_recipe

    loaded = load_recipe(recipe)
    with open_project(ctx) as project, progress("calls", quiet=as_json) as bar:
        found = collect_calls(project, loaded, progress=bar.update)
    if as_json:
        print_json(found)
        return
    say(f"{found.new:,} new calls, {found.total:,} in {loaded.source.path}.")
    if found.known:
        note(f"{found.known:,} came again and were there already.")


def build(
    ctx: typer.Context,
    recipe: RecipeFile,
    *,
    engine: Annotated[
        Where | None, typer.Option(help="Where rows are worked on; default: understudy.toml's.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Of an existing Ray cluster, such as 10.0.0.5:6379.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make (or find) the dataset of a recipe. Nothing is sent to the backend."""
    from understudy.collecting import prepare_dataset
    from understudy.recipe import load_recipe
    from understudy.reports import dataset_summary

    with open_project(ctx) as project, progress("rows read", quiet=as_json) as bar:
        dataset = prepare_dataset(
            project,
            load_recipe(recipe),
            engine=_engine(engine, address),
            progress=bar.update,
        )
    if as_json:
        print_json(dataset_summary(dataset))
        return
    say(f"{dataset.id}: {dataset.kept:,} rows kept, {dataset.dropped:,} left out.")
    note(f"`understudy datasets show {dataset.id}` counts them by reason.")


def _engine(name: Where | None, address: str | None) -> Engine | None:
    from understudy.data.engine import Engine
    from understudy.errors import ConfigError

    if address is not None and name is not Where.RAY:
        raise ConfigError("[--address] is of a Ray cluster; add --engine ray")
    return None if name is None else Engine(name=name.value, address=address)


def golden(
    ctx: typer.Context,
    reference: Reference,
    folder: Annotated[Path, typer.Argument(help="Folder of the golden set.")],
    *,
    size: Annotated[int, typer.Option(min=1, help="How many rows it is to have.")],
    by: Annotated[By, typer.Option(help="What it is sampled evenly over.")] = By.LABEL,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 17,
    as_json: AsJson = False,
) -> None:
    """Lock a sample of a dataset's test rows as the next version of a golden set."""
    from understudy.data import lock_golden
    from understudy.reports import find_dataset

    with open_project(ctx) as project:
        dataset = find_dataset(project, reference)
    made = lock_golden(dataset, folder, size=size, by=by.value, seed=seed)
    if as_json:
        print_json(made)
        return
    say(f"v{made.version}: {made.rows} rows in {len(made.strata)} strata, {made.path}")
    note(f'Recipes keep clear of it by [cleaning] held_out = "{folder}".')


def export(
    ctx: typer.Context,
    reference: Reference,
    folder: Annotated[Path, typer.Argument(help="Where train.jsonl and validation.jsonl go.")],
    *,
    to: Annotated[To, typer.Option(help="Whose rows to write.")],
    as_json: AsJson = False,
) -> None:
    """Write a dataset's training and validation rows in another ecosystem's format."""
    from understudy.data.formats.files import export_rows
    from understudy.reports import find_dataset

    with open_project(ctx) as project:
        dataset = find_dataset(project, reference)
    written = export_rows(dataset, folder, to.value)
    if as_json:
        print_json(written)
        return
    for name, rows in written.items():
        say(f"{folder / name}: {rows:,} rows")
