"""Where the answers of a run belong: a cache generation, or the book of answers.

What is written here is written in the transaction that marks a shard as collected; a cache takes
its answers only when the run is published.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

import sqlalchemy as sa

from understudy.batch.replies import Account
from understudy.cache import unpack
from understudy.engine import Engine, batch_money
from understudy.engine.batch_files import KEY
from understudy.engine.batch_shards import Run
from understudy.fingerprint import VERSION
from understudy.model import ChatReply
from understudy.store.dialect import insert
from understudy.store.schema import answers

__all__ = ["ASK", "PRECOMPUTE", "keep"]

PRECOMPUTE = "precompute"
ASK = "ask"
"""Purposes of runs."""

_AT_ONCE = 500


def keep(tx: sa.Connection, engine: Engine, run: Run, account: Account) -> int:
    """Keep a shard's answers where its run wants them at once; nano-dollars of all its replies.

    A book of answers holds the cost of each answer, so there the sum is of rounded costs.
    """
    if run.purpose == PRECOMPUTE:
        return batch_money.cost_nanos(engine, run, account.usage)
    total = 0
    for part in _parts(_book_rows(engine, run, account)):
        total += sum(row["cost_nanos"] for row in part)
        tx.execute(insert(tx, answers).on_conflict_do_nothing(), part)
    return total


def _book_rows(engine: Engine, run: Run, account: Account) -> Iterator[dict[str, Any]]:
    # A sampled answer belongs to its own operation alone; see engine.answers.Book.key.
    own = f"@{run.terms.account}" if run.plan["sampled"] else ""
    for line in account.answers:
        reply = unpack(line[KEY:])
        assert isinstance(reply, ChatReply)
        yield {
            "fingerprint": f"{VERSION}:{line[:KEY].decode()}{own}",
            "reply": asdict(reply),
            "cost_nanos": batch_money.cost_nanos(engine, run, reply.usage),
            "operation": run.terms.account,
            "at": engine.now(),
        }


def _parts(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while part := list(islice(rows, _AT_ONCE)):
        yield part
