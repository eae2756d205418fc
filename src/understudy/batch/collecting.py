"""``batch_collect``: what a batch gave back, fetched, accounted for, and kept.

Everything is written into files first, each under another name and renamed, and then marked in
one transaction. After a kill the same replies give the same files again.
"""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from understudy.batch.checks import Checker, make_checker
from understudy.batch.recipe import Check
from understudy.batch.replies import Account, Reader, read_references
from understudy.batch.sinks import keep
from understudy.engine import Engine, batch_money, batch_shards, batch_uploads, operations
from understudy.engine.batch_files import KEY, TEXT, head, read_rows
from understudy.engine.batch_refusals import batcher
from understudy.engine.batch_shards import Run, RunState, Shard, ShardState
from understudy.engine.operations import Operation
from understudy.model import BatchFiles, Handle, Usage

__all__ = ["checker_of", "reader_of", "settle", "step"]


_READING = threading.Lock()
"""One shard at a time in a process: more would take its memory again and win nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Left:
    """Rows that are asked again: a shard of their own."""

    requests: int
    bytes: int
    tokens: int


def step(engine: Engine, op: Operation) -> None:
    """Fetch, read, and settle one shard."""
    run, shard = batch_shards.of_operation(engine, op)
    folder = batch_shards.folder(engine, run)
    backend = batcher(engine, op.backend)
    fetched = folder / f"{shard.stem}.replies"
    fetched.mkdir(exist_ok=True)
    files = backend.fetch_batch(Handle(**op.payload["handle"]), fetched)
    engine.reach("batch_collect.fetched")
    with _READING:
        reader = reader_of(engine, run, shard)
        account = reader.files(files.paths, backend.batch_reply)
        guessed = _undelivered(run, account, op.payload["said"])
        settle(engine, op, run, shard, account, guessed=guessed, note=_note(files, op))
    shutil.rmtree(fetched, ignore_errors=True)
    batch_uploads.remove_upload(engine, run, shard)


def reader_of(engine: Engine, run: Run, shard: Shard) -> Reader:
    """What reads the replies of ``shard`` and checks them."""
    folder = batch_shards.folder(engine, run)
    rows = folder / f"{shard.stem}.rows"
    references: dict[str, str] = {}
    if (folder / "references").exists():
        keys = [line[:KEY].decode() for line in read_rows(rows)]
        references = read_references(folder / "references", keys[0], keys[-1])
    return Reader(rows, checker_of(engine, run), references)


def checker_of(engine: Engine, run: Run) -> Checker:
    """The checks that the run's recipe asks for."""
    check = Check.model_validate(run.plan.get("check", {}))
    scorer = engine.backends.scorer(check.scorer) if check.scorer else None
    return make_checker(check, scorer)


def _note(files: BatchFiles, op: Operation) -> str:
    if files.gone:
        return f"the provider has no longer: {', '.join(files.gone)}"
    raw = str(op.payload["said"]["raw"])
    return "" if raw.lower() == "completed" else f"it ended as {raw!r}"


def _undelivered(run: Run, account: Account, said: Any) -> Usage:
    """What the provider says it did and did not deliver; billed, so never booked as nothing.

    By its own sum where it gives one; else by its count of rows, at their prompt tokens and the
    most that they may have answered.
    """
    read = account.usage
    if said["usage"] is not None:
        told = Usage(**said["usage"])
        return Usage(
            input=max(told.input - read.input, 0),
            output=max(told.output - read.output, 0),
            cached=max(told.cached - read.cached, 0),
        )
    missing = min(max((said["completed"] or 0) - account.billed, 0), len(account.left))
    if not missing:
        return Usage(input=0, output=0)
    tokens = sum(account.left.values())
    return Usage(
        input=-(-tokens * missing // len(account.left)),
        output=missing * run.terms.max_output_tokens,
    )


def settle(
    engine: Engine,
    op: Operation,
    run: Run,
    shard: Shard,
    account: Account,
    *,
    guessed: Usage,
    note: str = "",
) -> None:
    """Write a shard's files and mark it as collected, with what it cost and what is left."""
    folder = batch_shards.folder(engine, run)
    if account.left and shard.round >= run.terms.attempts:
        account.give_up(f"asked {shard.round} times")
    left = _write(folder, shard, account)
    engine.reach("batch_collect.written")
    now = engine.now()
    with engine.store.write() as tx:
        operations.save(tx, op, at=now, status="done", due_at=None)
        extra = batch_money.cost_nanos(engine, run, guessed) if guessed.input else 0
        cost = _booked(tx, engine, op, run, shard, account, extra)
        _mark(tx, shard, account, left, cost=cost, guessed=extra, note=note, at=now)
        if left is not None:
            _ask_again(tx, run, shard, left, at=now)
        batch_shards.wake_driver(tx, run.id, at=now)
    engine.reach("batch_collect.stored")


def _booked(  # noqa: PLR0917 - one shard's money
    tx: sa.Connection,
    engine: Engine,
    op: Operation,
    run: Run,
    shard: Shard,
    account: Account,
    extra: int,
) -> int:
    """Book the shard and give back the rest of its reservation; nano-dollars of the shard."""
    if "batch" not in op.payload:
        # Live answers were booked as they came; those that were known before cost nothing.
        batch_money.release(tx, engine, run, op.key)
        return batch_money.spent(tx, shard)
    paid = keep(tx, engine, run, account) + extra
    note = f"{extra} nano-dollars by the provider's count" if extra else ""
    batch_money.book(tx, engine, run, op.payload["batch"], paid, note=note)
    return paid


def _mark(
    tx: sa.Connection,
    shard: Shard,
    account: Account,
    left: _Left | None,
    *,
    cost: int,
    guessed: int,
    note: str,
    at: float,
) -> None:
    batch_shards.move_shard(
        tx,
        shard.id,
        ShardState.COLLECTED,
        at=at,
        operation=None,
        problem=note or None,
        answered=len(account.answers),
        refused=account.count("refused"),
        invalid=account.count("invalid"),
        failed=account.count("failed"),
        again=0 if left is None else left.requests,
        strays=account.strays,
        input_tokens=account.input_tokens,
        cached_tokens=account.cached_tokens,
        output_tokens=account.output_tokens,
        counted_here=account.counted_here,
        cost_nanos=cost,
        guessed_nanos=guessed,
    )


def _ask_again(tx: sa.Connection, run: Run, shard: Shard, left: _Left, *, at: float) -> None:
    present = batch_shards.find_run(tx, run.id)
    assert present is not None
    again = {
        "number": shard.number,
        "round": shard.round + 1,
        "requests": left.requests,
        "bytes": left.bytes,
        "tokens": left.tokens,
    }
    (made,) = batch_shards.add_shards(tx, present, [again], at=at)
    if present.state in {RunState.CANCELLING, RunState.CANCELLED}:
        batch_shards.move_shard(tx, made, ShardState.CANCELLED, at=at)


def _write(folder: Path, shard: Shard, account: Account) -> _Left | None:
    """The shard's answers, what is kept apart, and the rows of the shard that follows."""
    account.answers.sort()
    _whole(folder / f"{shard.stem}.answers", account.answers)
    apart: list[bytes] = []
    left: list[bytes] = []
    if account.apart or account.left:
        for line in read_rows(folder / f"{shard.stem}.rows"):
            key, _ = head(line)
            if key in account.left:
                left.append(line)
            elif key in account.apart:
                apart.append(_apart_line(key, line, account))
    _whole(folder / f"{shard.stem}.apart.jsonl", apart)
    if not left:
        return None
    stem = batch_shards.shard_stem(shard.number, shard.round + 1)
    _whole(folder / f"{stem}.rows", left)
    form = sum(map(len, left))
    # The same constant as in the plan: what a row weighs beyond its line.
    constant = (shard.bytes - _rows_bytes(folder, shard)) // max(shard.requests, 1)
    return _Left(
        requests=len(left),
        bytes=form + constant * len(left),
        tokens=sum(account.left.values()),
    )


def _rows_bytes(folder: Path, shard: Shard) -> int:
    # Its newlines are no part of the lines.
    return (folder / f"{shard.stem}.rows").stat().st_size - shard.requests


def _apart_line(key: str, line: bytes, account: Account) -> bytes:
    one = account.apart[key]
    texts = [orjson.loads(text) for text in line[TEXT:].split(b"\t")]
    return orjson.dumps(
        {"key": key, "kind": one.kind, "code": one.code, "reason": one.message, "texts": texts}
    )


def _whole(path: Path, lines: list[bytes]) -> None:
    """A file that is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        if lines:
            file.write(b"\n".join(lines) + b"\n")
    temporary.rename(path)
