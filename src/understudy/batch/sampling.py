"""A seeded sample of precomputed answers, held against live answers of the same model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from understudy.backend import SupportsInfer
from understudy.batch.choosing import serving
from understudy.batch.questions import Questions
from understudy.batch.recipe import Ask
from understudy.batch.replies import answer_lines
from understudy.cache import unpack
from understudy.costs import ledger
from understudy.costs.money import to_nanos
from understudy.data import answer_text
from understudy.engine import Engine, batch_shards
from understudy.engine.answers import Book
from understudy.engine.batch_files import TEXT, head, read_rows
from understudy.engine.batch_shards import Run
from understudy.engine.operations import Operation
from understudy.errors import AuthError, ConfigError, TerminalError
from understudy.infer import LiveAnswerer
from understudy.model import ChatReply, ChatRequest, Json, ModelRef, Usage

__all__ = ["compare"]

_KIND = "evaluate"


def compare(engine: Engine, op: Operation, run: Run) -> dict[str, Json]:
    """Ask the sample live and count the equal answers; ``agreement`` is their share.

    A scorer other than ``exact`` is used where the recipe names one. Answers that are known from
    an earlier try, or an evaluation, are not asked again.

    Raises:
        TransientError: the provider cannot answer now.
    """
    folder = batch_shards.folder(engine, run)
    lines = list(read_rows(folder / "sample.rows"))
    kept = _kept(engine, run, {head(line)[0] for line in lines})
    asked = [line for line in lines if head(line)[0] in kept]
    backend = engine.backends.backend(run.backend)
    if not asked:
        return {"asked": 0, "agreement": None, "note": "no sample"}
    if not isinstance(backend, SupportsInfer):
        return {"asked": 0, "agreement": None, "note": f"{run.backend} has no live answers"}
    try:
        return _compared(engine, op, run, backend, asked, kept)
    except AuthError:
        raise
    except (TerminalError, ConfigError) as error:
        # A model may answer by batch alone; the run need not fail for that.
        return {"asked": 0, "agreement": None, "note": f"not compared: {error}"}


def _compared(  # noqa: PLR0917 - what one comparison needs
    engine: Engine,
    op: Operation,
    run: Run,
    backend: SupportsInfer,
    lines: list[bytes],
    kept: dict[str, str],
) -> dict[str, Json]:
    account = f"{run.id}.sample"
    requests = _requests(engine, run, lines)
    with engine.store.read() as tx:
        asked = serving(engine, tx, run.backend, run.model)
    _reserve(engine, run, account, lines)
    book = Book(
        engine,
        op,
        ref=ModelRef(backend=run.backend, id=run.model, base_model=run.model),
        account=account,
        max_output_tokens=run.terms.max_output_tokens,
        sku=asked.sku,
        deployment=asked.operation,
    )
    book.list_lost()
    answerer = LiveAnswerer(
        backend, book, concurrency=run.terms.concurrency, timeout=engine.timing.answer_timeout
    )
    scorer = engine.backends.scorer(run.plan["check"]["scorer"] or "exact")
    scores = []
    for line, answer in zip(lines, answerer.answer(requests), strict=True):
        if answer.reply is not None:
            live = answer_text(answer.reply.message)
            scores.append(scorer(kept[head(line)[0]], live))
    with engine.store.write() as tx:
        ledger.settle(tx, operation=account, kind=_KIND, at=engine.now())
    agreement = sum(scores) / len(scores) if scores else None
    return {"asked": len(lines), "answered": len(scores), "agreement": agreement, "note": ""}


def _requests(engine: Engine, run: Run, lines: list[bytes]) -> list[ChatRequest]:
    with engine.store.read() as tx:
        name = serving(engine, tx, run.backend, run.model).name
    ask = Ask.model_validate(run.plan["ask"])
    asks = Questions(ask=ask, model=name, version=run.version)
    return [
        asks.of_texts([orjson.loads(text) for text in line[TEXT:].split(b"\t")]) for line in lines
    ]


def _reserve(engine: Engine, run: Run, account: str, lines: list[bytes]) -> None:
    """The sample's own reservation: it is asked at the live price."""
    usage = Usage(
        input=sum(head(line)[1] for line in lines),
        output=len(lines) * run.terms.max_output_tokens,
    )
    provider = engine.backends.capabilities(run.backend).price_book
    most = engine.prices.inference_cost(provider, run.model, usage, at=engine.now())
    with engine.store.write() as tx:
        ledger.reserve(
            tx,
            budget=run.terms.budget,
            operation=account,
            job_id=run.owner,
            kind=_KIND,
            nanos=to_nanos(most, up=True),
            at=engine.now(),
        )


def _kept(engine: Engine, run: Run, wanted: set[str]) -> dict[str, str]:
    """The precomputed texts of the wanted keys, those that were answered."""
    with engine.store.read() as tx:
        shards = batch_shards.shards_of(tx, run.id)
    folder = batch_shards.folder(engine, run)
    found: dict[str, str] = {}
    for shard in shards:
        for key, value in _answers(folder / f"{shard.stem}.answers"):
            if key in wanted:
                reply = unpack(value)
                assert isinstance(reply, ChatReply)
                found[key] = answer_text(reply.message)
    return found


def _answers(path: Path) -> Iterator[tuple[str, bytes]]:
    return answer_lines(path) if path.exists() else iter(())
