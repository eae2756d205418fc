"""``batch_live``: a shard asked over the live endpoint, where its model cannot be asked by batch.

A part of the shard at a time: the next one is due when the rate allows it, so waiting is the
engine's as everywhere. Answers go into the book of answers as they come (live completions are
paid at least once, and the ledger lists those in doubt), and into the shard's account at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import orjson
import sqlalchemy as sa

from understudy.backend import SupportsInfer
from understudy.batch.choosing import serving
from understudy.batch.collecting import reader_of, settle
from understudy.batch.questions import Questions
from understudy.batch.recipe import Ask
from understudy.costs import ledger
from understudy.engine import Engine, batch_money, batch_shards, batch_uploads, operations
from understudy.engine.answers import Book
from understudy.engine.batch_files import TEXT, head, read_rows
from understudy.engine.batch_refusals import cancelled
from understudy.engine.batch_shards import Run, RunState, Shard, ShardState
from understudy.engine.deploying import Serving
from understudy.engine.operations import Operation
from understudy.errors import PluginError
from understudy.infer import LiveAnswerer
from understudy.model import BatchReply, ChatRequest, ModelRef, RemoteProblem, Usage

__all__ = ["intend", "step"]

_KIND = "batch"
_AT_ONCE = 16
"""Requests of one part for each that may be out at once."""


def intend(tx: sa.Connection, engine: Engine, run: Run, shard: Shard) -> None:
    """Reserve the shard's cost and record the intent to ask it."""
    now = engine.now()
    key = f"{shard.id}.live.{batch_uploads.next_number(tx, shard, 'live')}"
    batch_money.reserve(tx, engine, run, shard, key)
    operations.insert(
        tx,
        key=key,
        kind="batch_live",
        backend=run.backend,
        at=now,
        job_id=run.owner,
        payload={"run": run.id, "shard": shard.id, "done": 0},
    )
    batch_shards.move_shard(tx, shard.id, ShardState.RUNNING, at=now, operation=key, started_at=now)


def step(engine: Engine, op: Operation) -> None:
    """Ask the next part; at the end, settle the shard."""
    run, shard = batch_shards.of_operation(engine, op)
    if run.state is RunState.CANCELLING:
        _stop(engine, op, shard)
        return
    done = int(op.payload["done"])
    if done >= shard.requests:
        _settle(engine, op, run, shard)
        return
    rows = batch_shards.folder(engine, run) / f"{shard.stem}.rows"
    lines = list(islice(read_rows(rows), done, done + run.terms.concurrency * _AT_ONCE))
    problems = _ask(engine, op, run, lines)
    now = engine.now()
    if problems:
        _note(_problems(engine, run, shard), problems)
    with engine.store.write() as tx:
        payload = {**op.payload, "done": done + len(lines)}
        pause = 60 * len(lines) / (run.terms.requests_per_minute or 60.0)
        operations.save(
            tx, op, at=now, status="live", payload=payload, due_at=now + pause, failures=0
        )


def _stop(engine: Engine, op: Operation, shard: Shard) -> None:
    """What was answered is paid and in the book; going on later finds it there."""
    now = engine.now()
    with engine.store.write() as tx:
        operations.save(tx, op, at=now, status="cancelled", due_at=None)
        ledger.settle(tx, operation=op.key, kind=_KIND, at=now)
        cancelled(tx, engine, shard)


def _ask(engine: Engine, op: Operation, run: Run, lines: list[bytes]) -> dict[str, str]:
    """Ask these rows; the provider's reasons for those it will not answer."""
    backend = engine.backends.backend(run.backend)
    if not isinstance(backend, SupportsInfer):
        raise PluginError(f"{run.backend} cannot answer live, so {run.id} stands still")
    book = _book(engine, op, run)
    if op.payload["done"] == 0:
        book.list_lost()
    answerer = LiveAnswerer(
        backend, book, concurrency=run.terms.concurrency, timeout=engine.timing.answer_timeout
    )
    requests = [request for _, request in _requests(engine, run, lines)]
    answers = zip(lines, answerer.answer(requests), strict=True)
    return {head(line)[0]: said.problem or "" for line, said in answers if said.reply is None}


def _requests(engine: Engine, run: Run, lines: list[bytes]) -> Iterator[tuple[str, ChatRequest]]:
    name = _serving(engine, run).name
    asks = Questions(ask=Ask.model_validate(run.plan["ask"]), model=name, version=run.version)
    for line in lines:
        texts = [orjson.loads(text) for text in line[TEXT:].split(b"\t")]
        yield head(line)[0], asks.of_texts(texts)


def _serving(engine: Engine, run: Run) -> Serving:
    with engine.store.read() as tx:
        return serving(engine, tx, run.backend, run.model)


def _book(engine: Engine, op: Operation, run: Run) -> Book:
    asked = _serving(engine, run)
    return Book(
        engine,
        op,
        ref=ModelRef(backend=run.backend, id=run.model, base_model=run.model),
        account=op.key,
        max_output_tokens=run.terms.max_output_tokens,
        kind=_KIND,
        sku=asked.sku,
        deployment=asked.operation,
    )


def _settle(engine: Engine, op: Operation, run: Run, shard: Shard) -> None:
    """From the book and the noted problems into the shard's account."""
    reader = reader_of(engine, run, shard)
    book = _book(engine, op, run)
    problems = _noted(_problems(engine, run, shard))
    lines = read_rows(batch_shards.folder(engine, run) / f"{shard.stem}.rows")
    while part := list(islice(lines, 500)):
        keys = {key: book.key(request) for key, request in _requests(engine, run, part)}
        known = book.known(list(keys.values()))
        for key, print_ in keys.items():
            reply = known.get(print_)
            if reply is not None:
                reader.take(BatchReply(custom_id=key, outcome="answered", reply=reply))
            elif key in problems:
                why = RemoteProblem(message=problems[key])
                reader.take(BatchReply(custom_id=key, outcome="refused", problem=why))
    settle(engine, op, run, shard, reader.account, guessed=Usage(input=0, output=0))
    _problems(engine, run, shard).unlink(missing_ok=True)


def _problems(engine: Engine, run: Run, shard: Shard) -> Path:
    return batch_shards.folder(engine, run) / f"{shard.stem}.problems.jsonl"


def _note(path: Path, problems: Mapping[str, str]) -> None:
    with path.open("ab") as file:
        for pair in problems.items():
            file.write(orjson.dumps(pair, option=orjson.OPT_APPEND_NEWLINE))


def _noted(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    # The last line may be cut by a kill; its part is asked again then.
    lines = [line for line in path.read_bytes().split(b"\n")[:-1] if line]
    return dict(orjson.loads(line) for line in lines)
