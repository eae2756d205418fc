"""``understudy cache plan``: how much traffic how many precomputed answers would cover."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.opened import open_project
from understudy.cli.output import note, print_json, progress, say, table

if TYPE_CHECKING:
    from understudy.batch.coverage import Coverage, Point
    from understudy.batch.frequencies import QueryLog

__all__ = ["plan"]


def plan(
    ctx: typer.Context,
    log: Annotated[
        str, typer.Argument(help="A query log: .jsonl, .csv or .parquet, a path or any fsspec URL.")
    ],
    *,
    target_coverage: Annotated[
        str | None,
        typer.Option(help="Share of the log's traffic to cover, such as 95%; picks the head."),
    ] = None,
    to_come: Annotated[
        bool,
        typer.Option("--to-come", help="Let the target be a share of the traffic to come instead."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the head here, as input of precompute (.jsonl).")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curve: .png or .svg.")] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(help="Field that makes up a query; may be repeated. Default: all."),
    ] = None,
    count: Annotated[
        str | None, typer.Option(help="Field with how often a row was asked. Default: once each.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="Backend that would answer, for cost.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Its model (a fine-tune: ft:BASE).")] = None,
    prompt_tokens: Annotated[
        int, typer.Option(min=0, help="Tokens of the prompt around each query.")
    ] = 0,
    answer_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Plan the head: coverage of a query log against keys and cost. Sends nothing."""
    from understudy.batch.coverage import Coverage
    from understudy.batch.frequencies import tally
    from understudy.batch.recipe import Input
    from understudy.data.tokens import count as tokens_of
    from understudy.errors import ConfigError

    if out is not None and target_coverage is None:
        raise ConfigError("--out writes the head that --target-coverage picks; give both")
    share = None if target_coverage is None else _share(target_coverage)
    cost = _cost(ctx, backend, model, prompt_tokens, answer_tokens)
    rejects = Path(f"{out or Path(log).name}.rejected.jsonl")
    with tempfile.TemporaryDirectory() as folder, progress("reading the log", quiet=as_json):
        counted = tally(
            Input(path=log),
            folder=Path(folder),
            fields=field or (),
            count_field=count,
            tokens_of=tokens_of if cost else None,
            rejects=rejects,
        )
        coverage = Coverage(counted, cost)
        chosen = None if share is None else coverage.reaching(share, to_come=to_come)
        if out is not None and chosen is not None:
            _write(counted, chosen.keys, out, count or "count")
        if plot is not None:
            from understudy.batch.coverage_plot import plot as draw

            draw(coverage, plot, chosen=chosen)
    if as_json:
        print_json(_as_json(coverage, counted, chosen, out, rejects))
    else:
        _show(coverage, counted, chosen, out, rejects)


def _share(text: str) -> float:
    from understudy.errors import ConfigError

    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", text)
    share = float(found[1]) / (100 if found[2] else 1) if found else 0.0
    if not 0 < share <= 1:
        raise ConfigError(f"--target-coverage is {text!r}; write 95% or 0.95")
    return share


def _cost(
    ctx: typer.Context,
    backend: str | None,
    model: str | None,
    prompt_tokens: int,
    answer_tokens: int,
) -> Callable[[int, int], Decimal] | None:
    """What keys cost by batch, where a model is named."""
    from understudy.errors import ConfigError
    from understudy.model import Usage

    if backend is None or model is None:
        if backend or model:
            raise ConfigError("a cost needs both --backend and --model")
        return None
    with open_project(ctx) as project:
        provider = project.capabilities(backend).price_book
        price = project.prices.inference_price(provider, model, batch=True)

    def cost(keys: int, tokens: int) -> Decimal:
        used = Usage(input=tokens + keys * prompt_tokens, output=keys * answer_tokens)
        return price.cost(used)

    return cost


def _write(log: QueryLog, keys: int, path: Path, count: str) -> None:
    import orjson

    made = path.with_name(f".{path.name}.part")
    with made.open("wb") as file:
        for text, times in log.head(keys):
            row = {**orjson.loads(text), count: times}
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    made.replace(path)


def _as_json(
    coverage: Coverage, log: QueryLog, chosen: Point | None, out: Path | None, rejects: Path
) -> dict[str, Any]:
    return {
        "traffic": coverage.traffic,
        "distinct": coverage.distinct,
        "unseen": asdict(coverage.unseen),
        "rejected": dict(log.rejected),
        "rejects": rejects if log.rejected else None,
        "table": [asdict(point) for point in coverage.table()],
        "chosen": chosen and asdict(chosen),
        "head": out,
    }


def _show(
    coverage: Coverage, log: QueryLog, chosen: Point | None, out: Path | None, rejects: Path
) -> None:
    from understudy.costs.money import format_usd

    points = [*coverage.table(), *([chosen] if chosen else [])]
    table(
        ("of the log", "of traffic to come", "keys", "of all keys", "asked at least", "cost"),
        [
            (
                f"{point.of_log:.1%}{' <- target' if point is chosen else ''}",
                f"{point.to_come:.1%}",
                f"{point.keys:,}",
                f"{point.keys / coverage.distinct:.2%}",
                point.least,
                "-" if point.cost is None else format_usd(point.cost),
            )
            for point in sorted(points, key=lambda point: point.keys)
        ],
        title=f"{coverage.traffic:,} queries, {coverage.distinct:,} different",
    )
    unseen = coverage.unseen
    note(
        f"About {unseen.mass:.1%} ({unseen.low:.1%} to {unseen.high:.1%}) of the traffic to come "
        "stands nowhere in this log (Good-Turing)."
    )
    if log.rejected:
        note(f"{sum(log.rejected.values()):,} rows do not count; {rejects} says why.")
    if out is not None and chosen is not None:
        say(f"{chosen.keys:,} queries are in {out}: the input of `understudy precompute`.")
