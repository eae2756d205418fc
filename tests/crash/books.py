"""After the crash matrix: hold the provider's books against ours, job by job and to the nano."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from crash_providers import Provider

from understudy.store import open_store
from understudy.store.schema import (
    answers,
    asked,
    deployments,
    events,
    jobs,
    ledger,
    models,
    operations,
    repaid,
    verdicts,
)

__all__ = ["check_books", "check_deployments"]

Key = tuple[str, int, int]
OVER = 1800
"""Seconds that a deployment may be booked for more than it is billed: it takes a while until it is
billed, and until its end is seen, a killed worker's successor included."""


def check_books(
    provider: Provider, url: str, states: list[Any], bills: list[Any]
) -> dict[str, Any]:
    """Figures of a finished matrix; everything that must hold is asserted here."""
    store = open_store(url)
    with store.read() as tx:
        ours = {row.id: row for row in tx.execute(sa.select(jobs))}
        remote = [job for state in states for job in state["jobs"]]
        _one_remote_job_each(tx, provider, ours, remote)
        _same_verdict(tx)
        bill = [entry for bill in bills for entry in bill["entries"]]
        figures = _money(tx, [entry for entry in bill if entry["kind"] != "hosting"])
        if provider.deploys:
            figures |= check_deployments(tx, states, bill)
        transitions = tx.execute(sa.select(sa.func.count()).select_from(events)).scalar_one()
    store.close()
    return {
        "jobs": len(ours),
        "remote_jobs": len(remote),
        "transitions": transitions,
        **figures,
    }


def _one_remote_job_each(
    tx: sa.Connection, provider: Provider, ours: dict[str, Any], remote: list[Any]
) -> None:
    keys = list(provider.keys(tx, remote))
    by_key = Counter(keys)
    assert set(by_key) == {f"{job_id}.train.1" for job_id in ours}, "a job was lost or invented"
    doubled = {key: count for key, count in by_key.items() if count != 1}
    assert not doubled, "submitted more than once: " + "\n".join(
        _story(tx, key, [job for job, its in zip(remote, keys, strict=True) if its == key])
        for key in doubled
    )
    assert {job["status"] for job in remote} == {"succeeded"}
    unfinished = {job_id: row.state for job_id, row in ours.items() if row.state != "ready"}
    assert not unfinished, f"not at the verdict of an undisturbed run: {unfinished}"


def _story(tx: sa.Connection, key: str, theirs: list[Any]) -> str:
    """What the provider and our history say of one key, for the failure's message."""
    job_id = key.partition(".")[0]
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


def check_deployments(tx: sa.Connection, states: list[Any], bill: list[Any]) -> dict[str, Any]:
    """Nothing stands; each was made once, is known here, and is booked for what it was billed."""
    standing = [one for state in states for one in state["deployments"]]
    assert not standing, f"left behind: {standing}"
    made = Counter(name for state in states for name in state["deployments_made"])
    assert not [name for name, count in made.items() if count != 1], f"made again: {made}"
    rows = {row.name.lower(): row for row in tx.execute(sa.select(deployments))}
    assert {row.state for row in rows.values()} <= {"stopped"}
    started = {name for name, row in rows.items() if row.started_at is not None}
    assert set(made) == started, f"made and known differ: {set(made) ^ started}"
    hosted = {entry["ref"].partition("/")[2]: entry for entry in bill if entry["kind"] == "hosting"}
    assert set(rows) >= set(hosted), "billed and not known here"
    booked = _booked_hosting(tx, rows)
    for name, row in rows.items():
        nanos = int(Decimal(hosted[name]["usd"]) * 10**9) if name in hosted else 0
        most = nanos + row.hourly_nanos * OVER // 3600
        assert nanos <= booked[name] <= most, f"{name}: billed {nanos}, booked {booked[name]}"
    return {
        "deployments_made": len(made),
        "deployments_left": len(standing),
        "hosting_usd": str(sum((Decimal(one["usd"]) for one in hosted.values()), Decimal(0))),
        "hosting_ledger_usd": str(Decimal(sum(booked.values())) / 10**9),
    }


def _booked_hosting(tx: sa.Connection, rows: dict[str, Any]) -> dict[str, int]:
    lines = sa.select(ledger.c.operation, ledger.c.spent_nanos).where(ledger.c.kind == "hosting")
    spent = {line.operation: int(line.spent_nanos) for line in tx.execute(lines)}
    return {name: spent[row.operation] for name, row in rows.items()}


def _money(tx: sa.Connection, bill: list[dict[str, Any]]) -> dict[str, Any]:
    """The bill is our ledger plus completions that we list as possibly repaid, and no more.

    Hosting aside, which is booked by this side's clock: see ``check_deployments``.
    """
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
    lines = sa.select(sa.func.sum(ledger.c.spent_nanos)).where(ledger.c.kind != "hosting")
    spent = tx.execute(lines).scalar_one()
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
