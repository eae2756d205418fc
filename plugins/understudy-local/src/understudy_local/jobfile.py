"""``spec.json`` of a job's folder: all that its processes must know, and no secret."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from understudy.errors import NotFound
from understudy.model import JobSpec
from understudy_local.artifacts import JobFolder, read_json
from understudy_local.params import LocalParams
from understudy_local.settings import LocalSettings
from understudy_local.students import Source

__all__ = ["Order", "order_of", "read_order", "to_json"]

_DEFAULT_SEED = 17


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """One job as its processes read it. Times in seconds since the epoch."""

    key: str
    created_at: float
    home: Path
    base_model: str
    source_kind: Literal["folder", "gguf", "hub"]
    source_at: str
    source_sha256: str | None
    licence: str
    method: str
    params: LocalParams
    training: Path
    validation: Path | None
    seed: int
    device: str
    threads: int | None
    offline: bool
    grace_seconds: float
    max_restarts: int
    poll_interval: float


def order_of(
    spec: JobSpec, *, key: str, upload: Path, source: Source, settings: LocalSettings, at: float
) -> Order:
    """What is to be done for ``spec``, with the rows that were uploaded for it."""
    return Order(
        key=key,
        created_at=at,
        home=settings.home,
        base_model=spec.base_model,
        source_kind=source.kind,
        source_at=source.at,
        source_sha256=source.sha256,
        licence=source.licence,
        method=spec.method,
        params=LocalParams.model_validate(dict(spec.hyperparameters)),
        training=upload / "train.jsonl",
        validation=upload / "validation.jsonl" if spec.validation else None,
        seed=_DEFAULT_SEED if spec.seed is None else spec.seed,
        device=settings.device,
        threads=settings.threads,
        offline=settings.offline,
        grace_seconds=settings.grace_seconds,
        max_restarts=settings.max_restarts,
        poll_interval=settings.poll_interval,
    )


def to_json(order: Order) -> dict[str, Any]:
    """The order as it stands in the file."""
    made = {field.name: getattr(order, field.name) for field in dataclasses.fields(order)}
    made["params"] = order.params.model_dump(exclude_unset=True)
    return {
        name: os.fspath(value) if isinstance(value, Path) else value for name, value in made.items()
    }


def read_order(folder: JobFolder) -> Order:
    """The order in a job's folder.

    Raises:
        NotFound: there is no such job.
    """
    told = read_json(folder.spec)
    if told is None:
        raise NotFound(
            f"there is no job {folder.id} in {folder.path.parent}. If its folder was moved, set "
            "home in [backends.local]; if it was deleted, run the recipe again"
        )
    validation = told["validation"]
    return Order(
        **told
        | {
            "home": Path(told["home"]),
            "params": LocalParams.model_validate(told["params"]),
            "training": Path(told["training"]),
            "validation": None if validation is None else Path(validation),
        }
    )
