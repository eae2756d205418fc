"""Batches: runs, their shards, and the window of enqueued tokens of each model."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _time(name: str, *, null: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=null)


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(n, sa.BigInteger(), server_default="0", nullable=False) for n in names]


def _runs() -> None:
    names = ("id", "name", "purpose", "owner", "backend", "model", "version", "state", "folder")
    op.create_table(
        "batch_runs",
        *(_text(name) for name in names),
        sa.Column("plan", _JSON, nullable=False),
        sa.Column("problem", _JSON, nullable=True),
        sa.Column("result", _JSON, nullable=True),
        _time("created_at"),
        _time("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_batch_runs"),
    )
    op.create_index("ix_batch_runs_owner", "batch_runs", ["owner"], unique=False)
    op.create_index("ix_batch_runs_state", "batch_runs", ["state"], unique=False)


def _shards() -> None:
    op.create_table(
        "batch_shards",
        _text("id"),
        _text("run_id"),
        *_counts("number", "round"),
        _text("state"),
        *_counts("requests", "bytes", "tokens", "tries"),
        _text("operation", null=True),
        _text("remote_id", null=True),
        _text("problem", null=True),
        *_counts("answered", "refused", "invalid", "failed", "again", "strays"),
        *_counts("input_tokens", "cached_tokens", "output_tokens", "counted_here"),
        *_counts("cost_nanos", "guessed_nanos"),
        _time("started_at", null=True),
        _time("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_batch_shards"),
    )
    op.create_index("ix_batch_shards_run_id", "batch_shards", ["run_id"], unique=False)
    op.create_index("ix_batch_shards_state", "batch_shards", ["state"], unique=False)


def _windows() -> None:
    op.create_table(
        "batch_windows",
        _text("backend"),
        _text("model"),
        sa.Column("tokens", sa.BigInteger(), nullable=True),
        _time("hold_until"),
        _time("updated_at"),
        sa.PrimaryKeyConstraint("backend", "model", name="pk_batch_windows"),
    )


def upgrade() -> None:
    _runs()
    _shards()
    _windows()


def downgrade() -> None:
    for table in ("batch_windows", "batch_shards", "batch_runs"):
        op.drop_table(table)
