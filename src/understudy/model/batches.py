"""Batches: many requests in one file, answered within a day at half the price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from understudy.model.chat import ChatReply, Json, Usage
from understudy.model.remote import RemoteProblem, RemoteState

__all__ = ["BatchFiles", "BatchLimits", "BatchReply", "BatchSpec", "BatchStatus"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchLimits:
    """What one batch, and all that run at once, may hold.

    ``requests`` and ``bytes`` bound one file; ``models`` how many models (deployments) one file
    may name; ``enqueued_tokens`` the prompt tokens of all unfinished batches of one model, None
    where there is no such limit or nobody told it. ``window`` is the time in seconds after which a
    batch expires, or in which it is usually done (``source`` says which).
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
    """One file of requests in JSON lines, each a row that ``SupportsBatch.batch_row`` made.

    ``metadata`` goes along where the provider keeps any, beside the key. ``tokens`` are prompt
    tokens, what the provider counts against its enqueued-token limit.
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

    SUCCEEDED: it ended, and whatever was answered can be fetched, be it all, a part or nothing; a
    batch that expired keeps that word as its ``raw``. CANCELLED: somebody ended it; its part can be
    fetched too and is billed. FAILED: nothing was run. The counts are the provider's own and may
    be wrong.
    ``usage`` is what it says it will bill, None where it gives none or only zeros.
    ``over_quota``: refused for the enqueued-token limit, so it may be sent again later. ``fields``
    are the few fields of the reply that may be kept in the history.
    """

    state: RemoteState
    raw: str
    total: int | None = None
    completed: int | None = None
    failed: int | None = None
    problem: RemoteProblem | None = None
    over_quota: bool = False
    usage: Usage | None = None
    fields: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchFiles:
    """What a batch gave back: files of JSON lines, each a row for ``SupportsBatch.batch_reply``.

    Both may be empty: a batch may end with nothing. ``gone`` are the provider's names of files
    that it no longer has; their rows will not come back.
    """

    paths: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchReply:
    """What became of one row; rows come in any order, and some may never come.

    ``outcome``: *answered* has a ``reply``; *retry* may be asked again (expired, throttled, a
    fault of the service); *refused* by a content filter; *invalid* can never be answered. A
    *refused* row has a ``reply`` too where the provider billed one. ``problem.code`` is the
    provider's code, else the HTTP status as text.
    """

    custom_id: str
    outcome: Literal["answered", "retry", "refused", "invalid"]
    reply: ChatReply | None = None
    problem: RemoteProblem | None = None
