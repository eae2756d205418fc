"""Runs: submitted, found, cancelled, retried; what a person may ask of them."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from understudy.batch.estimating import estimate
from understudy.batch.planning import Planned
from understudy.batch.plans import Plan
from understudy.batch.sinks import PRECOMPUTE
from understudy.costs.ledger import budget_state, open_budget
from understudy.costs.money import to_nanos
from understudy.engine import Engine, batch_shards, operations
from understudy.engine.batch_shards import Run, RunState, ShardState, Terms, drive_key
from understudy.errors import ConfigError, NotEligible
from understudy.store.dialect import insert
from understudy.store.schema import batch_runs
from understudy.store.schema import batch_shards as shards_table
from understudy.store.schema import operations as operations_table

__all__ = ["cancel", "insert_run", "publish_anyway", "retry", "shard_rows", "start"]


def start(engine: Engine, plan: Plan) -> tuple[Run, bool]:
    """Submit the plan, or find the run that is on it; one that was cancelled goes on.

    Returns:
        The run, and whether it is new.

    Raises:
        BudgetExceeded: the most that it may cost is more than is left. Nothing was sent.
        NotEligible: the model cannot be asked by batch, and the live way was not accepted.
    """
    with engine.store.read() as tx:
        present = batch_shards.find_run(tx, plan.id)
    if present is not None:
        if present.state is RunState.CANCELLED:
            present = retry(engine, present.id)
        return _strict(engine, present, plan), False
    if plan.way.refusal:
        raise NotEligible(
            f'{plan.way.refusal} Say via = "live" and requests_per_minute in [batch] to ask it '
            "live instead; `--dry-run` says what that costs."
        )
    figures = estimate(engine, plan)
    recipe = plan.recipe
    with engine.store.write() as tx:
        limit = to_nanos(recipe.budget.limit_usd)
        open_budget(tx, name=recipe.budget_name, limit_nanos=limit)
        budget = budget_state(tx, recipe.budget_name)
        assert budget is not None
        budget.require(figures.at_most)
        made = insert_run(tx, engine, _row(engine, plan), shard_rows(plan.planned))
    engine.reach("batch_run.intended")
    return made, True


def _strict(engine: Engine, run: Run, plan: Plan) -> Run:
    """Take another bar for the coverage, as long as nothing is published."""
    bar = plan.recipe.publish.coverage
    if run.state.ended or run.plan["publish"]["coverage"] == bar:
        return run
    changed = {**run.plan, "publish": {**run.plan["publish"], "coverage": bar}}
    with engine.store.write() as tx:
        tx.execute(sa.update(batch_runs).where(batch_runs.c.id == run.id).values(plan=changed))
        return batch_shards.get_run(tx, run.id)


def _row(engine: Engine, plan: Plan) -> dict[str, Any]:
    recipe = plan.recipe
    sending = recipe.batch
    terms = Terms(
        budget=recipe.budget_name,
        on_exhausted=recipe.budget.on_exhausted,
        max_output_tokens=recipe.ask.max_output_tokens,
        attempts=sending.attempts,
        enqueued_tokens=sending.enqueued_tokens,
        at_once=sending.at_once,
        via=plan.way.via,
        requests_per_minute=sending.requests_per_minute,
        concurrency=sending.concurrency,
    )
    planned = plan.planned
    return {
        "id": plan.id,
        "name": recipe.name,
        "purpose": PRECOMPUTE,
        "owner": plan.id,
        "backend": plan.pinned.backend,
        "model": plan.pinned.model,
        "version": plan.pinned.version,
        "folder": plan.folder.relative_to(engine.batch_root).as_posix(),
        "plan": {
            "terms": terms.model_dump(mode="json"),
            "ask": recipe.ask.model_dump(mode="json"),
            "check": recipe.check.model_dump(mode="json"),
            "publish": recipe.publish.model_dump(mode="json"),
            "compare": recipe.compare and recipe.compare.model_dump(mode="json"),
            "cache": plan.cache,
            "registered": plan.pinned.registered,
            "rows": planned.rows,
            "rejected": planned.rejected,
            "duplicates": planned.duplicates,
            "known": planned.known,
            "asked": planned.asked,
            "estimate": estimate(engine, plan).to_json(),
        },
    }


def shard_rows(planned: Planned) -> list[dict[str, Any]]:
    """The shards of a plan as ``insert_run`` takes them."""
    return [{**asdict(shard), "round": 1} for shard in planned.shards]


def insert_run(
    tx: sa.Connection, engine: Engine, row: dict[str, Any], shards: list[dict[str, Any]]
) -> Run:
    """Record a run, its shards and the operation that drives it; an equal one is found."""
    now = engine.now()
    plan = {**row["plan"], "nonce": secrets.token_hex(4)}
    values = {**row, "plan": plan, "state": RunState.RUNNING, "created_at": now, "updated_at": now}
    made = insert(tx, batch_runs).values(**values).on_conflict_do_nothing()
    added = tx.execute(made.execution_options(preserve_rowcount=True)).rowcount
    found = batch_shards.find_run(tx, row["id"])
    assert found is not None
    if added:
        batch_shards.add_shards(tx, found, shards, at=now)
        operations.insert(
            tx,
            key=drive_key(row["id"]),
            kind="batch_run",
            backend=row["backend"],
            at=now,
            job_id=row["owner"],
            payload={"run": row["id"]},
        )
    return found


def cancel(engine: Engine, run_id: str) -> Run:
    """Stop a run. Batches that run are cancelled at the provider; what they did is kept.

    Raises:
        ConfigError: there is no such run, or it has ended.
    """
    now = engine.now()
    with engine.store.write() as tx:
        run = _locked(tx, run_id)
        if run.state.ended:
            raise ConfigError(f"{run.id} is {run.state.value}; there is nothing left to cancel")
        if run.state is RunState.FINISHING:
            raise ConfigError(f"{run.id} has all its answers and is being published; let it end")
        cause = "cancelled by a person"
        batch_shards.move_run(tx, run, RunState.CANCELLING, at=now, cause=cause, problem=None)
        tx.execute(
            sa.update(shards_table)
            .where(shards_table.c.run_id == run.id, shards_table.c.state == ShardState.WAITING)
            .values(state=ShardState.CANCELLED, updated_at=now)
        )
        _wake_all(tx, run, now)
        return batch_shards.get_run(tx, run.id)


def retry(engine: Engine, run_id: str) -> Run:
    """Go on with a run that needs attention or was cancelled.

    Raises:
        ConfigError: there is no such run, or nothing holds it up.
    """
    now = engine.now()
    with engine.store.write() as tx:
        run = _locked(tx, run_id)
        if run.state not in {RunState.NEEDS_ATTENTION, RunState.CANCELLED}:
            hint = f"; publish it with `understudy precompute publish {run.id}`"
            raise ConfigError(
                f"{run.id} is {run.state.value}, so there is nothing to retry"
                f"{hint if run.state is RunState.WITHHELD else ''}"
            )
        mine = shards_table.c.run_id == run.id
        tx.execute(
            sa.update(shards_table)
            .where(mine, shards_table.c.state == ShardState.CANCELLED)
            .values(state=ShardState.WAITING, updated_at=now)
        )
        tx.execute(
            sa.update(shards_table)
            .where(mine, shards_table.c.state == ShardState.WAITING)
            .values(tries=0)
        )
        cause = "retried by a person"
        batch_shards.move_run(tx, run, RunState.RUNNING, at=now, cause=cause, problem=None)
        _wake_all(tx, run, now)
        return batch_shards.get_run(tx, run.id)


def publish_anyway(engine: Engine, run_id: str) -> Run:
    """Publish a withheld generation as it is.

    Raises:
        ConfigError: the run is not withheld.
    """
    now = engine.now()
    with engine.store.write() as tx:
        run = _locked(tx, run_id)
        if run.state is not RunState.WITHHELD:
            raise ConfigError(f"{run.id} is {run.state.value}; only a withheld run is published so")
        plan = {**run.plan, "publish": {**run.plan["publish"], "coverage": None}}
        plan["check"] = {**plan["check"], "agreement": None}
        cause = "published by a person"
        batch_shards.move_run(
            tx, run, RunState.FINISHING, at=now, cause=cause, problem=None, plan=plan
        )
        _wake_all(tx, run, now)
        return batch_shards.get_run(tx, run.id)


def _locked(tx: sa.Connection, run_id: str) -> Run:
    run = batch_shards.get_run(tx, run_id)
    # As workers do: the operation first, then what it works on.
    operations.lock_job(tx, run.owner)
    return batch_shards.get_run(tx, run.id)


def _wake_all(tx: sa.Connection, run: Run, now: float) -> None:
    """Have all that is open looked at now; the driver is opened again if it had ended."""
    table = operations_table
    mine = table.c.key.startswith(f"{run.id}.", autoescape=True)
    tx.execute(
        sa.update(table)
        .where(mine, table.c.status.in_(operations.ACTIVE))
        .values(due_at=now, failures=0)
    )
    tx.execute(
        sa.update(table)
        .where(table.c.key == drive_key(run.id))
        .values(status="intended", due_at=now, failures=0, looks=0)
    )
