"""The tables. Money is integer nano-dollars, times are seconds since the epoch."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

__all__ = [
    "alias_moves",
    "aliases",
    "answers",
    "asked",
    "batch_runs",
    "batch_shards",
    "batch_windows",
    "budgets",
    "deployments",
    "evaluations",
    "events",
    "jobs",
    "ledger",
    "metadata",
    "models",
    "operations",
    "repaid",
    "verdicts",
]

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_Json = sa.JSON().with_variant(JSONB(), "postgresql")
_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, null: bool = False, **options: object) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null, **options)  # type: ignore[arg-type]


def _time(name: str, *, null: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=null)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _serial() -> sa.Column[int]:
    return sa.Column("id", _Id, primary_key=True, autoincrement=True)


jobs = sa.Table(
    "jobs",
    metadata,
    _text("id", primary_key=True),
    _text("run_key", unique=True),
    _text("train_key", index=True),
    _text("name"),
    _text("backend"),
    _text("state", index=True),
    _text("stage", null=True),
    _count("version"),
    sa.Column("plan", _Json, nullable=False),
    _text("dataset_id"),
    _text("budget"),
    sa.Column("problem", _Json),
    _text("model_id", null=True),
    _time("created_at"),
    _time("updated_at"),
)

events = sa.Table(
    "events",
    metadata,
    _serial(),
    _text("job_id", index=True),
    _time("at"),
    _text("event"),
    _text("from_state"),
    _text("to_state"),
    _text("cause"),
    sa.Column("fields", _Json, nullable=False),
    _text("worker", null=True),
)

operations = sa.Table(
    "operations",
    metadata,
    _text("key", primary_key=True),
    _text("job_id", null=True, index=True),
    _text("kind"),
    _text("backend"),
    _text("status"),
    sa.Column("payload", _Json, nullable=False),
    sa.Column("handle", _Json),
    _text("wish", null=True),
    _text("last_raw", null=True),
    _text("last_error", null=True),
    _count("attempt"),
    _count("looks"),
    _count("failures"),
    _time("not_after", null=True),
    _time("confirm_at", null=True),
    _time("due_at", null=True),
    _text("lease_owner", null=True),
    _time("lease_until", null=True),
    _count("fence"),
    _time("created_at"),
    _time("updated_at"),
    sa.Index("ix_operations_due_at", "due_at"),
)

budgets = sa.Table(
    "budgets",
    metadata,
    _text("name", primary_key=True),
    _count("limit_nanos"),
    _count("reserved_nanos"),
    _count("spent_nanos"),
)

ledger = sa.Table(
    "ledger",
    metadata,
    _serial(),
    _text("budget", index=True),
    _text("operation"),
    _text("job_id", null=True, index=True),
    _text("kind"),
    _text("status"),
    _count("reserved_nanos"),
    _count("spent_nanos"),
    _text("note"),
    _time("at"),
    _time("settled_at", null=True),
    sa.UniqueConstraint("operation", "kind"),
)

asked = sa.Table(
    "asked",
    metadata,
    _text("operation", primary_key=True),
    _text("fingerprint", primary_key=True),
    _time("at"),
    _count("at_most_nanos"),
)

repaid = sa.Table(
    "repaid",
    metadata,
    _serial(),
    _text("operation", index=True),
    _text("fingerprint"),
    _time("at"),
    _count("at_most_nanos"),
)

answers = sa.Table(
    "answers",
    metadata,
    _text("fingerprint", primary_key=True),
    sa.Column("reply", _Json, nullable=False),
    _count("cost_nanos"),
    _text("operation"),
    _time("at"),
)

models = sa.Table(
    "models",
    metadata,
    _text("id", primary_key=True),
    _text("name", index=True),
    _count("version"),
    _text("backend"),
    _text("model"),
    _text("base_model"),
    _text("owner", null=True),
    _text("source", unique=True),
    sa.Column("lineage", _Json, nullable=False),
    _time("created_at"),
    sa.UniqueConstraint("name", "version"),
)

deployments = sa.Table(
    "deployments",
    metadata,
    _text("operation", primary_key=True),
    _text("job_id", index=True),
    _text("backend"),
    _text("name"),
    _text("serves_as"),
    _text("model", index=True),
    _text("base_model"),
    _text("purpose"),
    _text("sku", null=True),
    sa.Column("capacity", sa.Integer),
    _text("owner"),
    _text("state"),
    _count("hourly_nanos"),
    _time("delete_by", null=True),
    _time("created_at"),
    _time("started_at", null=True),
    _time("serving_at", null=True),
    _time("answered_at", null=True),
    _time("stopped_at", null=True),
)

evaluations = sa.Table(
    "evaluations",
    metadata,
    _serial(),
    _text("model_id", index=True),
    _text("operation", unique=True),
    _text("dataset_id"),
    sa.Column("report", _Json, nullable=False),
    _time("at"),
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    _serial(),
    _text("model_id", index=True),
    sa.Column("evaluation_id", _Id, nullable=False),
    sa.Column("passed", sa.Boolean, nullable=False),
    sa.Column("reasons", _Json, nullable=False),
    _time("at"),
)

aliases = sa.Table(
    "aliases",
    metadata,
    _text("name", primary_key=True),
    _text("model_id"),
    _count("moves"),
    _time("updated_at"),
)

alias_moves = sa.Table(
    "alias_moves",
    metadata,
    _serial(),
    _text("alias", index=True),
    _text("from_model", null=True),
    _text("to_model"),
    _text("cause"),
    sa.Column("forced", sa.Boolean, nullable=False),
    _time("at"),
)

batch_runs = sa.Table(
    "batch_runs",
    metadata,
    _text("id", primary_key=True),
    _text("name"),
    _text("purpose"),
    _text("owner", index=True),
    _text("backend"),
    _text("model"),
    _text("version"),
    _text("state", index=True),
    _text("folder"),
    sa.Column("plan", _Json, nullable=False),
    sa.Column("problem", _Json),
    sa.Column("result", _Json),
    _time("created_at"),
    _time("updated_at"),
)

batch_shards = sa.Table(
    "batch_shards",
    metadata,
    _text("id", primary_key=True),
    _text("run_id", index=True),
    _count("number"),
    _count("round"),
    _text("state"),
    _count("requests"),
    _count("bytes"),
    _count("tokens"),
    _count("tries"),
    _text("operation", null=True),
    _text("remote_id", null=True),
    _text("problem", null=True),
    _count("answered"),
    _count("refused"),
    _count("invalid"),
    _count("failed"),
    _count("again"),
    _count("strays"),
    _count("input_tokens"),
    _count("cached_tokens"),
    _count("output_tokens"),
    _count("counted_here"),
    _count("cost_nanos"),
    _count("guessed_nanos"),
    _time("started_at", null=True),
    _time("updated_at"),
    sa.Index("ix_batch_shards_state", "state"),
)

batch_windows = sa.Table(
    "batch_windows",
    metadata,
    _text("backend", primary_key=True),
    _text("model", primary_key=True),
    sa.Column("tokens", sa.BigInteger, nullable=True),
    _time("hold_until"),
    _time("updated_at"),
)
