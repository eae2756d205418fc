"""``understudy cache (export import warm)``: generations in files and in other stores."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.opened import open_project
from understudy.cli.output import print_json, progress, say

if TYPE_CHECKING:
    from understudy.cache import Generation

__all__ = ["export", "import_", "warm"]

Name = Annotated[str, typer.Argument(help="Name of the cache: an alias, or a model.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Force = Annotated[
    bool, typer.Option("--force", help="Switch even if another one is published meanwhile.")
]


def export(
    ctx: typer.Context,
    cache: Name,
    file: Annotated[Path, typer.Argument(help="A .jsonl or .parquet file to write.")],
    *,
    generation: Annotated[str | None, typer.Option(help="Default: the current one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a generation to a file."""
    from understudy.cache.transfer import export_cache

    with open_project(ctx) as project, progress("rows written", quiet=as_json) as bar:
        rows = export_cache(project.cache, cache, file, generation=generation, noted=bar.update)
    if as_json:
        print_json({"file": file, "rows": rows, "bytes": file.stat().st_size})
    else:
        say(f"{rows:,} answers are in {file}.")


def import_(
    ctx: typer.Context,
    cache: Name,
    file: Annotated[Path, typer.Argument(help="What `understudy cache export` wrote.")],
    *,
    model: Annotated[
        str | None, typer.Option(help="Model version that answered, if the file does not say.")
    ] = None,
    generation: Annotated[
        str | None, typer.Option(help="Id of the new generation; default: by the file's hash.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make a file the current generation. Nothing of a damaged file is published."""
    from understudy.cache.transfer import import_cache

    with open_project(ctx) as project, progress("rows read", quiet=as_json) as bar:
        made = import_cache(
            project.cache,
            cache,
            file,
            model=model,
            generation=generation,
            force=force,
            noted=bar.update,
        )
    _tell(made, as_json=as_json)


def warm(
    ctx: typer.Context,
    cache: Name,
    *,
    source: Annotated[
        str | None,
        typer.Option("--from", help="URL of a store to take the current generation from."),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Read the current generation into memory, or bring it here from another store."""
    from understudy.cache import open_cache
    from understudy.cache.transfer import copy_cache

    with open_project(ctx) as project:
        store = project.cache
        if source is None:
            started, rows = time.perf_counter(), 0
            with progress("rows read", quiet=as_json) as bar:
                for rows, _ in enumerate(store.scan(cache), 1):
                    if rows % 10_000 == 0:
                        bar.update(rows)
            taken = time.perf_counter() - started
            if as_json:
                print_json({"cache": cache, "rows": rows, "seconds": taken})
            else:
                say(f"{rows:,} answers read in {taken:.1f} s.")
            return
        plugins = project.host.cache_stores().values()
        other = open_cache(source, plugins=plugins)
        try:
            with progress("rows copied", quiet=as_json) as bar:
                made = copy_cache(other, store, cache, force=force, noted=bar.update)
        finally:
            other.close()
    _tell(made, as_json=as_json)


def _tell(made: Generation, *, as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        print_json(asdict(made))
    else:
        say(f"Cache {made.cache!r} answers from {made.id}: {made.entries:,} answers.")
