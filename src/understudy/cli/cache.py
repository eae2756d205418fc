"""``understudy cache``: stats, get, put, rollback, prune; files are in ``cache_files``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.cache_files import export, import_, warm
from understudy.cli.cache_plan import plan
from understudy.cli.opened import moment, open_project
from understudy.cli.output import note, print_json, say, show, table

if TYPE_CHECKING:
    from understudy.cache import CacheStats, Generation
    from understudy.model import ChatRequest

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Precomputed answers: what is there, switching back, files, planning.",
)

Name = Annotated[str, typer.Argument(help="Name of the cache: an alias, or a model.")]
Asked = Annotated[
    str,
    typer.Argument(
        help="A fingerprint (u1:...), or a file with a chat completion request as JSON; - is stdin."
    ),
]
Model = Annotated[
    str | None,
    typer.Option(help="Model version that answers; default: that of the current generation."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def stats(
    ctx: typer.Context,
    cache: Annotated[str | None, typer.Argument(help="One cache; default: all.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what caches hold and how they did: generations, live answers, hits, costs."""
    with open_project(ctx) as project:
        store = project.cache
        names = [cache] if cache else store.caches()
        found = [(store.stats(name), store.generations(name)) for name in names]
    records = [_record(stats, generations) for stats, generations in found]
    if as_json:
        print_json(records)
        return
    columns = ("cache", "current", "model", "entries", "tail", "hits", "live", "live_usd", "disk")
    table(columns, [_cells(stats) for stats, _ in found])
    for _, generations in found:
        rows = [_generation(each) for each in generations] if cache else []
        if rows:
            show(rows, ("id", "state", "entries", "codec", "published", "model"), as_json=False)
    if not found:
        note("No caches; `understudy precompute RECIPE` makes one.")


@app.command()
def get(
    ctx: typer.Context, cache: Name, asked: Asked, *, model: Model = None, as_json: AsJson = False
) -> int:
    """Show the answer to a request: of the current generation, else a live one.

    Exit code 1: there is none.
    """
    from dataclasses import asdict

    from understudy.cache import Refusal, unpack
    from understudy.cache.requests import key_in

    with open_project(ctx) as project:
        store = project.cache
        key = key_in(store, cache, _asked(asked), model)
        view = store.view(cache)
        value = view.get(key)
        held = "tail" if value is None or view.generation is None else view.generation.id
        value = value if value is not None else store.get_tail(cache, key)
    if value is None:
        note(f"Cache {cache!r} has no answer under u1:{key.hex()}.")
        return 1
    found = unpack(value)
    if as_json:
        kind = "refusal" if isinstance(found, Refusal) else "reply"
        print_json({"fingerprint": f"u1:{key.hex()}", "from": held, kind: asdict(found)})
    elif isinstance(found, Refusal):
        say(f"refused: {found.reason}")
    else:
        say(found.text or str(dict(found.message)))
        note(f"From {held}, answered by {found.model}.")
    return 0


@app.command()
def put(
    ctx: typer.Context,
    cache: Name,
    asked: Asked,
    answer: Annotated[str, typer.Argument(help="The answer's text.")],
    *,
    model: Model = None,
    ttl: Annotated[float | None, typer.Option(min=0, help="Seconds that it is kept.")] = None,
) -> None:
    """Put an answer of your own among the live ones; the next generation carries it on."""
    from understudy.cache import TailRow, pack_reply
    from understudy.cache.requests import key_in
    from understudy.data.tokens import count
    from understudy.model import ChatReply, Usage

    with open_project(ctx) as project:
        store = project.cache
        key = key_in(store, cache, _asked(asked), model)
        reply = ChatReply(
            message={"role": "assistant", "content": answer},
            finish_reason="stop",
            usage=Usage(input=0, output=count(answer)),
            model="put by hand",
            usage_counted_here=True,
        )
        expires_at = None if ttl is None else project.config.clock.now() + ttl
        store.put_tail(cache, [TailRow(key=key, value=pack_reply(reply), expires_at=expires_at)])
        covered = store.view(cache).get(key) is not None
    say(f"u1:{key.hex()}")
    if covered:
        note("The current generation has an answer to this as well, and it comes first.")


@app.command()
def rollback(
    ctx: typer.Context,
    cache: Name,
    *,
    to: Annotated[str | None, typer.Option(help="A generation; default: the one before.")] = None,
    as_json: AsJson = False,
) -> None:
    """Switch back to the generation before, or to any that is kept. Readers see it at once."""
    with open_project(ctx) as project:
        chosen = project.cache.rollback(cache, to)
    _say_switched(chosen, as_json=as_json)


@app.command()
def prune(
    ctx: typer.Context,
    cache: Name,
    *,
    keep: Annotated[int, typer.Option(min=1, help="Published generations to keep.")] = 2,
    abandon: Annotated[
        str | None, typer.Option(help="Throw away this generation, which was never published.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Delete old generations and live answers of no use; never what is current."""
    from understudy.errors import ConfigError

    with open_project(ctx) as project:
        store = project.cache
        if abandon is not None:
            known = {each.id: each for each in store.generations(cache)}
            if abandon not in known:
                raise ConfigError(f"cache {cache!r} has no generation {abandon!r}")
            with store.writer(cache, abandon, model=known[abandon].model) as writer:
                writer.abandon()
        gone = [*([known[abandon]] if abandon else []), *store.prune(cache, keep=keep)]
    if as_json:
        print_json([_generation(each) for each in gone])
        return
    names = ", ".join(each.id for each in gone) or "no generation"
    say(f"Deleted {names}.")


def _asked(asked: str) -> str | ChatRequest:
    from understudy.cache.requests import request_of
    from understudy.errors import DataError

    if asked.startswith("u1:"):
        return asked
    import orjson

    path = Path(asked)
    try:
        text = sys.stdin.buffer.read() if asked == "-" else path.read_bytes()
        return request_of(orjson.loads(text))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}; check the path", file=path) from None
    except orjson.JSONDecodeError as error:
        raise DataError(f"is no JSON: {error}", file=path) from None
    except DataError as error:
        raise DataError(error.reason, file=path, field=error.field) from None


def _say_switched(chosen: Generation, *, as_json: bool) -> None:
    if as_json:
        print_json(_generation(chosen))
        return
    say(f"Cache {chosen.cache!r} answers from {chosen.id}: {chosen.entries:,} answers.")


def _generation(generation: Generation) -> dict[str, Any]:
    from dataclasses import asdict

    record = asdict(generation)
    at = generation.published_at
    record["published"] = None if at is None else moment(at)
    record["state"] = "current" if generation.current else generation.state.value
    return record


def _record(stats: CacheStats, generations: Any) -> dict[str, Any]:
    from dataclasses import asdict

    record = asdict(stats)
    record["generations"] = [_generation(each) for each in generations]
    return record


def _cells(stats: CacheStats) -> list[Any]:
    from understudy.costs.money import format_usd, from_nanos

    current, counts = stats.current, stats.counts
    calls = counts.get("student_calls", 0) + counts.get("teacher_calls", 0)
    spent = counts.get("student_nanos", 0) + counts.get("teacher_nanos", 0)
    unpriced = counts.get("student_unpriced", 0) + counts.get("teacher_unpriced", 0)
    told = f"{format_usd(from_nanos(spent))}{f' and {unpriced:,} unpriced' if unpriced else ''}"
    return [
        stats.cache,
        current and current.id,
        current and current.model,
        current and f"{current.entries:,}",
        f"{stats.tail_entries:,}",
        f"{counts.get('hits', 0) + counts.get('tail_hits', 0):,}",
        f"{calls:,}",
        told,
        None if stats.disk_bytes is None else f"{stats.disk_bytes / 1e6:,.1f} MB",
    ]


for name, command in (("export", export), ("import", import_), ("warm", warm), ("plan", plan)):
    app.command(name)(command)
