"""After the crash matrix: hold the provider's books against ours, job by job and to the nano."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from understudy.store import open_store
from understudy.store.schema import (
    answers,
    asked,
    events,
    jobs,
    ledger,
    models,
    operations,
    repaid,
    verdicts,
)

__all__ = ["check_books"]

Key = tuple[str, int, int]


def check_books(url: str, states: list[Any], bills: list[Any]) -> dict[str, Any]:
    """Figures of a finished matrix; everything that must hold is asserted here."""
    store = open_store(url)
    with store.read() as tx:
        ours = {row.id: row for row in tx.execute(sa.select(jobs))}
        remote = [job for state in states for job in state["jobs"]]
        _one_remote_job_each(tx, ours, remote)
        _same_verdict(tx)
        figures = _money(tx, [entry for bill in bills for entry in bill["entries"]])
        transitions = tx.execute(sa.select(sa.func.count()).select_from(events)).scalar_one()
    store.close()
    return {
        "jobs": len(ours),
        "remote_jobs": len(remote),
        "transitions": transitions,
        **figures,
    }


def _one_remote_job_each(tx: sa.Connection, ours: dict[str, Any], remote: list[Any]) -> None:
    by_key = Counter(job["metadata"]["understudy_key"] for job in remote)
    assert set(by_key) == {f"{job_id}.train.1" for job_id in ours}, "a job was lost or invented"
    doubled = {key: count for key, count in by_key.items() if count != 1}
    assert not doubled, "submitted more than once: " + "\n".join(
        _story(tx, key, remote) for key in doubled
    )
    assert {job["status"] for job in remote} == {"succeeded"}
    unfinished = {job_id: row.state for job_id, row in ours.items() if row.state != "ready"}
    assert not unfinished, f"not at the verdict of an undisturbed run: {unfinished}"


def _story(tx: sa.Connection, key: str, remote: list[Any]) -> str:
    """What the provider and our history say of one key, for the failure's message."""
    job_id = key.partition(".")[0]
    theirs = [job for job in remote if job["metadata"]["understudy_key"] == key]
    lines = [f"{key}: {job['id']} {job['status']} at {job['created_at']}" for job in theirs]
    history = tx.execute(sa.select(events).where(events.c.job_id == job_id))
    lines += [f"  {e.at:.1f} {e.event} -> {e.to_state} by {e.worker}: {e.cause}" for e in history]
    work = tx.execute(sa.select(operations).where(operations.c.job_id == job_id))
    lines += [f"  {op.key} {op.status} attempt {op.attempt} fence {op.fence}" for op in work]
    return "\n".join(lines)


def _same_verdict(tx: sa.Connection) -> None:
    reasons = Counter(str(row.reasons) for row in tx.execute(sa.select(verdicts)))
    versions = tx.execute(sa.select(sa.func.count()).select_from(models)).scalar_one()
    assert len(reasons) == 1, f"verdicts differ: {reasons}"
    assert sum(reasons.values()) == versions, "a model was judged twice or not at all"


def _money(tx: sa.Connection, bill: list[dict[str, Any]]) -> dict[str, Any]:
    """The bill is our ledger plus completions that we list as possibly repaid, and no more."""
    assert tx.execute(sa.select(asked)).first() is None, "a completion is still in doubt"
    kept = {row.fingerprint: row for row in tx.execute(sa.select(answers))}
    listed = [row.fingerprint for row in tx.execute(sa.select(repaid))]
    billed = Counter(_billed(entry) for entry in bill if entry["kind"] == "inference")
    booked = Counter(_booked(row) for row in kept.values())
    possible = Counter(_booked(kept[fingerprint]) for fingerprint in listed)
    extra = billed - booked
    assert not booked - billed, "we booked answers that the provider did not bill"
    assert not extra - possible, f"paid again and not listed: {extra - possible}"
    total = sum((Decimal(entry["usd"]) for entry in bill), Decimal(0))
    again = _price_of(bill, extra)
    spent = tx.execute(sa.select(sa.func.sum(ledger.c.spent_nanos))).scalar_one()
    ledger_usd = Decimal(int(spent)) / 10**9
    assert total - again == ledger_usd, f"bill {total} - repaid {again} != ledger {ledger_usd}"
    open_lines = tx.execute(sa.select(ledger.c.id).where(ledger.c.status != "settled")).all()
    assert not open_lines, "a reservation was never settled"
    return {
        "bill_usd": str(total),
        "ledger_usd": str(ledger_usd),
        "completions": sum(booked.values()),
        "repaid_listed": len(listed),
        "repaid_billed": sum(extra.values()),
        "repaid_usd": str(again),
    }


def _billed(entry: dict[str, Any]) -> Key:
    return entry["model"], entry["input_tokens"], entry["output_tokens"]


def _booked(row: Any) -> Key:
    usage = row.reply["usage"]
    return row.reply["model"], usage["input"], usage["output"]


def _price_of(bill: list[dict[str, Any]], extra: Counter[Key]) -> Decimal:
    price = {_billed(entry): Decimal(entry["usd"]) for entry in bill}
    return sum((price[key] * count for key, count in extra.items()), Decimal(0))
