"""``understudy datasets``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.datasets_make import add_commands
from understudy.cli.opened import open_project
from understudy.cli.output import note, print_json, show, table
from understudy.cli.report import counted

if TYPE_CHECKING:
    from understudy.data import Dataset

__all__ = ["app"]

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Datasets and the rows that they left out."
)

Reference = Annotated[str, typer.Argument(help="Id of the dataset, or its beginning.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """List datasets."""
    from understudy.data import list_datasets
    from understudy.reports import dataset_summary

    with open_project(ctx) as project:
        found = list_datasets(project.data_root)
    records: list[dict[str, Any]] = [dataset_summary(dataset) for dataset in found]
    if not as_json:
        for record in records:
            splits = record["splits"]
            record |= {name: splits[name]["rows"] for name in splits}
            record["tokens"] = splits["train"]["tokens"]
            record["source"] = record["source"].get("name")
    columns = ("id", "method", "source", "train", "validation", "test", "dropped", "tokens")
    show(records, columns, as_json=as_json)
    if not records:
        note("No datasets; `understudy estimate RECIPE` makes one and sends nothing.")


@app.command("show")
def show_(ctx: typer.Context, reference: Reference, *, as_json: AsJson = False) -> None:
    """Show a dataset: its splits with tokens and hashes, and what was left out, by reason."""
    from understudy.reports import dataset_summary, find_dataset

    with open_project(ctx) as project:
        dataset = find_dataset(project, reference)
    if as_json:
        print_json(dataset_summary(dataset))
        return
    table(("split", "rows", "tokens", "longest", "bytes", "sha256"), _splits(dataset))
    table(("dropped because", "rows"), sorted(dataset.rejected.items(), key=lambda item: -item[1]))
    note(f"{dataset.id} is in {dataset.path}; it came from {dataset.source.get('name')}.")


def _splits(dataset: Dataset) -> list[list[Any]]:
    return [
        [name, info.rows, info.tokens, info.longest, info.bytes, info.sha256]
        for name, info in dataset.splits.items()
    ]


@app.command()
def inspect(
    ctx: typer.Context,
    reference: Reference,
    *,
    reason: Annotated[str | None, typer.Option(help="Only rows left out for this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many rows.")] = 10,
    rows: Annotated[
        bool, typer.Option("--rows", help="Show the rows' text too; it may be private.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show rows that were left out: where each stands, and why."""
    from understudy.reports import find_dataset, rejected_rows

    with open_project(ctx) as project:
        dataset = find_dataset(project, reference)
    records = []
    for found in rejected_rows(dataset, limit=limit, reason=reason):
        text = {"row", "raw"}
        kept = {name: value for name, value in found.items() if rows or name not in text}
        records.append(kept)
    if as_json:
        print_json(records)
        return
    for record in records:
        record["where"] = f"{record['file']}:{record['line']}:{record['field']}".rstrip(":")
        record["row"] = record.get("row", record.get("raw"))
    shown = ("where", "reason", "message", *(("row",) if rows else ()))
    show(records, shown, as_json=False)
    note(f"{dataset.dropped:,} rows left out of {dataset.id}: {counted(dataset.rejected) or '-'}.")


add_commands(app)
