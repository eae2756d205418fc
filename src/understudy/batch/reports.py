"""What is told of a run: its account, its shards, its history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from understudy.batch.account import RunAccount, account_of
from understudy.engine import batch_shards, jobs
from understudy.engine.batch_shards import Run, Shard
from understudy.engine.jobs import JobEvent
from understudy.model import Json
from understudy.store import Store

__all__ = ["RunReport", "run_report", "run_reports"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """A run as it stands."""

    run: Run
    account: RunAccount
    shards: tuple[Shard, ...]
    history: tuple[JobEvent, ...]

    def to_json(self) -> dict[str, Json]:
        """As JSON."""
        run = self.run
        return {
            **self.line(),
            "problem": run.problem,
            "result": run.result,
            "account": self.account.to_json(),
            "estimate": run.plan.get("estimate"),
            "shards": [_shard(one) for one in self.shards],
            "history": [
                {"at": one.at, "from": one.from_state, "to": one.to_state, "cause": one.cause}
                for one in self.history
            ],
        }

    def line(self) -> dict[str, Json]:
        """The run in one line of a table."""
        run, account = self.run, self.account
        return {
            "id": run.id,
            "name": run.name,
            "state": run.state.value,
            "model": run.version,
            "asked": run.plan.get("asked"),
            "answered": account.answered,
            "to_do": account.to_do,
            "apart": account.refused + account.invalid + account.failed,
            "coverage": round(account.coverage, 4),
            "spent_usd": format(account.spent_usd, "f"),
            "created_at": run.created_at,
        }


def _shard(one: Shard) -> dict[str, Any]:
    names = ("id", "state", "remote_id", "requests", "answered", "refused", "invalid", "failed")
    more = ("again", "strays", "tries", "cost_nanos", "guessed_nanos", "counted_here", "problem")
    return {name: getattr(one, name) for name in (*names, *more)}


def run_report(store: Store, run_id: str) -> RunReport:
    """All there is to tell of one run.

    Raises:
        ConfigError: there is no such run.
    """
    with store.read() as tx:
        run = batch_shards.get_run(tx, run_id)
        return RunReport(
            run=run,
            account=account_of(tx, run),
            shards=tuple(batch_shards.shards_of(tx, run.id)),
            history=tuple(jobs.history(tx, run.id)),
        )


def run_reports(store: Store) -> list[RunReport]:
    """All precompute runs, newest first; without their history."""
    with store.read() as tx:
        return [
            RunReport(run=run, account=account_of(tx, run), shards=(), history=())
            for run in batch_shards.list_runs(tx)
            if run.owner == run.id
        ]
