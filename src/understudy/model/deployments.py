"""Running endpoints of models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from understudy.model.remote import Handle, RemoteState

__all__ = [
    "Deployment",
    "DeploymentSpec",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentSpec:
    """A running endpoint that is wanted.

    ``purpose`` decides the default ``sku`` and whether it goes down by itself: an evaluation's
    deployment does, at ``delete_by`` (seconds since the epoch) at the latest. ``owner`` says who
    made it, for the one who finds it at the provider with an empty store. ``capacity`` is in the
    provider's units.
    """

    name: str
    model: str
    base_model: str
    purpose: Literal["evaluation", "serving"]
    owner: str
    sku: str | None = None
    capacity: int | None = None
    delete_by: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """A running endpoint as the provider shows it. ``key`` is our operation's, where it is ours.

    ``sku`` names the price of its hosting. ``idle_since`` and ``deleted_at`` (by the service
    itself) are known to some providers only.
    """

    handle: Handle
    name: str
    model: str
    state: RemoteState
    raw: str
    sku: str
    capacity: int
    owner: str | None = None
    key: str | None = None
    purpose: str | None = None
    delete_by: float | None = None
    created_at: float | None = None
    idle_since: float | None = None
    deleted_at: float | None = None
