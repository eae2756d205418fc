"""Model versions, their evaluations and verdicts, and aliases. Append-only but for the alias row.

Every function takes an open transaction, so that a caller can make it part of a larger step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from understudy.errors import ConfigError, StaleRecord
from understudy.model import Json, ModelRef
from understudy.store import schema
from understudy.store.dialect import insert
from understudy.validation import nearest

__all__ = [
    "AliasMove",
    "ModelVersion",
    "add_evaluation",
    "alias_moves",
    "alias_target",
    "aliases",
    "get_model",
    "history",
    "list_models",
    "move_alias",
    "register",
    "registered",
    "rollback_alias",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelVersion:
    """A registered student: immutable. ``id`` is ``name@version``.

    ``lineage`` holds the dataset's id, the recipe, the job and the provider's handle.
    """

    id: str
    name: str
    version: int
    backend: str
    model: str
    base_model: str
    owner: str | None
    lineage: Mapping[str, Json]
    created_at: float

    @property
    def ref(self) -> ModelRef:
        """As the backend wants to be asked for it."""
        return ModelRef(
            backend=self.backend, id=self.model, base_model=self.base_model, owner=self.owner
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class AliasMove:
    """One move of an alias."""

    alias: str
    from_model: str | None
    to_model: str
    cause: str
    forced: bool
    at: float


def _version(row: Any) -> ModelVersion:
    names = ModelVersion.__dataclass_fields__
    return ModelVersion(**{name: row[name] for name in names})


def register(
    tx: sa.Connection,
    *,
    name: str,
    ref: ModelRef,
    source: str,
    lineage: Mapping[str, Json],
    at: float,
) -> ModelVersion:
    """Add the next version of ``name``; the same ``source`` gives the version it gave before."""
    table = schema.models
    present = registered(tx, source)
    if present is not None:
        return present
    newest = sa.select(sa.func.max(table.c.version)).where(table.c.name == name)
    version = (tx.execute(newest).scalar() or 0) + 1
    values: dict[str, Any] = {
        "id": f"{name}@{version}",
        "name": name,
        "version": version,
        "backend": ref.backend,
        "model": ref.id,
        "base_model": ref.base_model,
        "owner": ref.owner,
        "lineage": dict(lineage),
        "created_at": at,
    }
    # Two workers may register at once: the unique key makes one of them try again.
    tx.execute(sa.insert(table).values(**values, source=source))
    return ModelVersion(**values)


def registered(tx: sa.Connection, source: str) -> ModelVersion | None:
    """The version that was registered for ``source``, if it was."""
    query = sa.select(schema.models).where(schema.models.c.source == source)
    row = tx.execute(query).mappings().first()
    return None if row is None else _version(row)


def get_model(tx: sa.Connection, reference: str) -> ModelVersion:
    """The version that ``reference`` names: ``name@3``, or an alias.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    target = alias_target(tx, reference) or reference
    table = schema.models
    row = tx.execute(sa.select(table).where(table.c.id == target)).mappings().first()
    if row is None:
        known = [*tx.execute(sa.select(table.c.id)).scalars(), *(a for a, _ in aliases(tx))]
        raise ConfigError(
            f"there is no model version or alias {reference!r}: {nearest(reference, known)}"
        )
    return _version(row)


def list_models(tx: sa.Connection, name: str | None = None) -> list[ModelVersion]:
    """All versions, oldest first, of one name or of all."""
    table = schema.models
    query = sa.select(table).order_by(table.c.created_at, table.c.version)
    if name is not None:
        query = query.where(table.c.name == name)
    return [_version(row) for row in tx.execute(query).mappings()]


def add_evaluation(
    tx: sa.Connection,
    *,
    model_id: str,
    operation: str,
    dataset_id: str,
    report: Mapping[str, Json],
    passed: bool,
    reasons: tuple[str, ...],
    at: float,
) -> None:
    """Append an evaluation and its verdict."""
    added = tx.execute(
        sa.insert(schema.evaluations)
        .values(model_id=model_id, operation=operation, dataset_id=dataset_id, report=report, at=at)
        .returning(schema.evaluations.c.id)
    ).scalar_one()
    tx.execute(
        sa.insert(schema.verdicts).values(
            model_id=model_id, evaluation_id=added, passed=passed, reasons=list(reasons), at=at
        )
    )


def history(tx: sa.Connection, model_id: str) -> list[dict[str, Json]]:
    """Evaluations with their verdicts, newest first."""
    e, v = schema.evaluations, schema.verdicts
    query = (
        sa.select(e.c.at, e.c.operation, e.c.dataset_id, e.c.report, v.c.passed, v.c.reasons)
        .join(v, v.c.evaluation_id == e.c.id)
        .where(e.c.model_id == model_id)
        .order_by(e.c.id.desc())
    )
    return [dict(row) for row in tx.execute(query).mappings()]


def aliases(tx: sa.Connection) -> list[tuple[str, str]]:
    """All aliases with the version that each points at."""
    table = schema.aliases
    rows = tx.execute(sa.select(table.c.name, table.c.model_id).order_by(table.c.name))
    return [(row.name, row.model_id) for row in rows]


def alias_target(tx: sa.Connection, alias: str) -> str | None:
    """The version id that ``alias`` points at, if it exists."""
    table = schema.aliases
    return tx.execute(sa.select(table.c.model_id).where(table.c.name == alias)).scalar()


def alias_moves(tx: sa.Connection, alias: str) -> list[AliasMove]:
    """Every move of ``alias``, newest first."""
    table = schema.alias_moves
    query = sa.select(table).where(table.c.alias == alias).order_by(table.c.id.desc())
    names = AliasMove.__dataclass_fields__
    return [
        AliasMove(**{name: row[name] for name in names}) for row in tx.execute(query).mappings()
    ]


def move_alias(
    tx: sa.Connection,
    *,
    alias: str,
    model_id: str,
    cause: str,
    at: float,
    force: bool = False,
    expected: str | None = "",
) -> AliasMove:
    """Point ``alias`` at ``model_id`` and keep the move.

    ``expected`` is the version that the alias must point at now (None: it must not exist);
    without it any will do.

    Raises:
        ConfigError: the version does not exist, or has no passing verdict and ``force`` is off.
        StaleRecord: somebody else moved the alias, in the same moment or since ``expected``.
    """
    get_model(tx, model_id)
    latest = tx.execute(
        sa.select(schema.verdicts.c.passed)
        .where(schema.verdicts.c.model_id == model_id)
        .order_by(schema.verdicts.c.id.desc())
        .limit(1)
    ).scalar()
    if not latest and not force:
        state = "failed its evaluation" if latest is False else "has not been evaluated"
        raise ConfigError(
            f"{model_id} {state}, so alias {alias!r} stays where it is; evaluate a better "
            "student, or use --force (it is recorded)"
        )
    move = _swap(
        tx,
        alias=alias,
        model_id=model_id,
        cause=cause,
        at=at,
        forced=not latest,
        expected=expected,
    )
    tx.execute(
        sa.insert(schema.alias_moves).values(
            **{name: getattr(move, name) for name in AliasMove.__dataclass_fields__}
        )
    )
    return move


def _swap(
    tx: sa.Connection,
    *,
    alias: str,
    model_id: str,
    cause: str,
    at: float,
    forced: bool,
    expected: str | None,
) -> AliasMove:
    table = schema.aliases
    row = tx.execute(sa.select(table).where(table.c.name == alias)).mappings().first()
    present = None if row is None else row["model_id"]
    moved = StaleRecord(f"alias {alias!r} was moved by somebody else; look and try again")
    if expected not in {"", present}:
        raise moved
    if row is None:
        values = {"name": alias, "model_id": model_id, "moves": 1, "updated_at": at}
        change = insert(tx, table).values(**values).on_conflict_do_nothing()
    else:
        change = (
            sa.update(table)
            .where(table.c.name == alias, table.c.moves == row["moves"])
            .values(model_id=model_id, moves=row["moves"] + 1, updated_at=at)
        )
    change = change.execution_options(preserve_rowcount=True)
    if tx.execute(change).rowcount != 1:
        raise moved
    return AliasMove(
        alias=alias,
        from_model=present,
        to_model=model_id,
        cause=cause,
        forced=forced,
        at=at,
    )


def rollback_alias(tx: sa.Connection, *, alias: str, at: float) -> AliasMove:
    """Point ``alias`` back at the version it had before its present one.

    Going back twice goes back two versions. The version returned to passed when it was moved to,
    or was forced then; so no verdict is asked for again.

    Raises:
        ConfigError: the alias does not exist or has never pointed anywhere else.
    """
    moves = alias_moves(tx, alias)
    if not moves:
        known = [name for name, _ in aliases(tx)]
        raise ConfigError(f"there is no alias {alias!r}: {nearest(alias, known)}")
    trail: list[str] = []
    for move in reversed(moves):
        if move.cause == "rollback" and trail:
            trail.pop()
        elif trail[-1:] != [move.to_model]:
            trail.append(move.to_model)
    if len(trail) < 2:
        raise ConfigError(f"alias {alias!r} has no earlier version to go back to")
    return move_alias(tx, alias=alias, model_id=trail[-2], cause="rollback", at=at, force=True)
