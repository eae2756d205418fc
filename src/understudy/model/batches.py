"""Batches: many requests in one file, answered within a day at half the price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from understudy.model.chat import ChatReply, Json
from understudy.model.remote import RemoteProblem, RemoteState

__all__ = ["BatchLimits", "BatchReply", "BatchSpec", "BatchStatus"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchLimits:
    """What one batch, and all that run at once, may hold.

    ``requests`` and ``bytes`` bound one file; ``models`` how many models (deployments) one file
    may name; ``enqueued_tokens`` the prompt tokens of all unfinished batches of one model, None
    where there is no such limit. ``window`` is the time in seconds after which a batch expires.
    """

    requests: int
    bytes: int
    window: float
    models: int = 1
    enqueued_tokens: int | None = None
    batches_per_hour: int | None = None
    source: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSpec:
    """One file of requests, each a row that ``SupportsBatch.batch_row`` made.

    ``tokens`` are prompt tokens, what the provider counts against its enqueued-token limit.
    """

    model: str
    path: str
    sha256: str
    requests: int
    bytes: int
    tokens: int
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchStatus:
    """One look at a batch.

    ``state`` is SUCCEEDED when it ended and whatever was answered can be read, be it all or not:
    an expired or cancelled batch keeps its ``raw`` word and its part. FAILED means that nothing
    was run. The counts are the provider's own and may be wrong.
    ``over_quota``: refused for the enqueued-token limit, so it may be sent again later.
    """

    state: RemoteState
    raw: str
    total: int | None = None
    completed: int | None = None
    failed: int | None = None
    problem: RemoteProblem | None = None
    over_quota: bool = False
    fields: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchReply:
    """What became of one row; rows come in any order, and some may never come.

    ``outcome``: *answered* has a ``reply``; *retry* may be asked again (expired, throttled, a
    fault of the service); *refused* by a content filter; *invalid* can never be answered.
    """

    custom_id: str
    outcome: Literal["answered", "retry", "refused", "invalid"]
    reply: ChatReply | None = None
    problem: RemoteProblem | None = None
