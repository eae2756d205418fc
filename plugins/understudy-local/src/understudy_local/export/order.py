"""``spec.json`` of an export: all that its process must know, and no secret."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from understudy.model import ExportSpec
from understudy_local.settings import LocalSettings
from understudy_local.work import Work

__all__ = ["ExportOrder", "kept_settings", "read_order", "to_json"]

_KEPT = (
    "device",
    "threads",
    "offline",
    "context_tokens",
    "parallel_requests",
    "idle_seconds",
    "max_restarts",
    "poll_interval",
)
"""Settings that shape what processes of ours do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOrder:
    """One export as its process reads it."""

    key: str
    created_at: float
    spec: ExportSpec
    settings: LocalSettings


def to_json(order: ExportOrder) -> dict[str, Any]:
    """The order as it stands in the file."""
    return {
        "key": order.key,
        "created_at": order.created_at,
        "spec": asdict(order.spec),
        "settings": kept_settings(order.settings),
    }


def kept_settings(settings: LocalSettings) -> dict[str, Any]:
    """The settings that a process of ours must know, as JSON; no secret."""
    told = {name: getattr(settings, name) for name in _KEPT}
    return {**told, "home": os.fspath(settings.home)}


def read_order(work: Work) -> ExportOrder:
    """The order in an export's folder. Raises as ``Work.spec`` does."""
    told: Mapping[str, Any] = work.spec()
    spec = {**told["spec"], "formats": tuple(told["spec"]["formats"])}
    settings = {**told["settings"], "home": Path(told["settings"]["home"])}
    return ExportOrder(
        key=told["key"],
        created_at=told["created_at"],
        spec=ExportSpec(**spec),
        settings=LocalSettings.model_validate(settings),
    )
