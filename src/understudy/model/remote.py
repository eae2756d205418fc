"""Work at a provider: how it is found again, and what the provider says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from understudy.model.chat import Json

__all__ = [
    "Absent",
    "Found",
    "Handle",
    "NotYet",
    "Progress",
    "RemoteEvent",
    "RemoteProblem",
    "RemoteState",
    "RemoteStatus",
    "UploadFailed",
    "UploadPending",
    "UploadReady",
    "UploadStatus",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Handle:
    """What a backend gives back for an operation: enough to find it again from another process.

    ``id`` is the provider's own id; ``data`` is small, JSON, and free of secrets.
    """

    kind: Literal["upload", "job", "deployment", "batch", "export"]
    id: str
    data: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The operation exists; ``surplus`` are further ones with the same key, newest last."""

    handle: Handle
    surplus: tuple[Handle, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class NotYet:
    """The provider cannot tell yet; ask again after ``retry_after`` seconds."""

    retry_after: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Absent:
    """The provider's list was read to the end and the key is not on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadPending:
    """The provider is still taking the file in."""

    retry_after: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadReady:
    """The files can be trained on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadFailed:
    """The provider refused the file."""

    message: str
    code: str | None = None


UploadStatus = UploadPending | UploadReady | UploadFailed


class RemoteState(StrEnum):
    """What a provider says of a running operation, in our words."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """A status that the plugin has no mapping for: keep polling, never guess."""

    @property
    def terminal(self) -> bool:
        """Whether the provider will say nothing else any more."""
        return self in {RemoteState.SUCCEEDED, RemoteState.FAILED, RemoteState.CANCELLED}


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteProblem:
    """Why the provider says an operation failed."""

    message: str
    code: str | None = None
    param: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where training stands. ``finish_at`` is the provider's own guess."""

    step: int | None = None
    total_steps: int | None = None
    finish_at: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteStatus:
    """One look at a running operation.

    ``raw`` is the provider's own word. ``trained_tokens`` are billed tokens, epochs counted in.
    ``fields`` are the few fields of the reply that may be kept in the job's history: no row text,
    no URL query, no secret. ``usd`` is what the backend itself says that it cost so far, where it
    is not billed by the token.
    """

    state: RemoteState
    raw: str
    problem: RemoteProblem | None = None
    progress: Progress | None = None
    model: str | None = None
    trained_tokens: int | None = None
    fields: Mapping[str, Json] = field(default_factory=dict[str, Json])
    usd: Decimal | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteEvent:
    """One line of a provider's training log. ``metrics`` as the provider names them."""

    id: str
    at: float
    level: str
    message: str
    metrics: Mapping[str, Json] = field(default_factory=dict[str, Json])
