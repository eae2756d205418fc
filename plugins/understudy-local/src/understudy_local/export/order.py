"""``spec.json`` of an export: all that its process must know, and no secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from understudy.model import ExportSpec
from understudy_local.settings import LocalSettings
from understudy_local.work import Work, kept_settings, settings_of

__all__ = ["ExportOrder", "read_order", "to_json"]


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


def read_order(work: Work) -> ExportOrder:
    """The order in an export's folder. Raises as ``Work.spec`` does."""
    told: Mapping[str, Any] = work.spec()
    spec = {**told["spec"], "formats": tuple(told["spec"]["formats"])}
    return ExportOrder(
        key=told["key"],
        created_at=told["created_at"],
        spec=ExportSpec(**spec),
        settings=settings_of(told),
    )
