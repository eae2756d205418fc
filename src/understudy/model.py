"""Frozen records that every part of Understudy speaks. Data only; no I/O, no clock.

Times are seconds since the epoch (float, UTC). Money is US dollars as ``Decimal``. Tokens are
counted with o200k_base unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

__all__ = [
    "Absent",
    "ChatReply",
    "ChatRequest",
    "Checkpoint",
    "Deployment",
    "DeploymentSpec",
    "Estimate",
    "Example",
    "Found",
    "Handle",
    "JobSpec",
    "Json",
    "Lifecycle",
    "Message",
    "Method",
    "ModelRef",
    "NotYet",
    "Problem",
    "Progress",
    "RemoteEvent",
    "RemoteProblem",
    "RemoteState",
    "RemoteStatus",
    "Rows",
    "UploadFailed",
    "UploadPending",
    "UploadReady",
    "UploadStatus",
    "Usage",
]

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict of them."""

Message = Mapping[str, Any]
"""One chat message as it goes over the wire: role, content, tool_calls, name, ..."""

Method = Literal["supervised", "dpo", "reinforcement"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One training row.

    ``messages`` ends with the assistant's answer. ``source_id`` names the conversation it came
    from: examples that share it are never split apart. ``reference`` is a better answer than the
    teacher's, where one is known; evaluation scores against it. ``rejected`` is the dispreferred
    answer of a preference pair.
    """

    messages: tuple[Message, ...]
    source_id: str
    tools: tuple[Message, ...] = ()
    reference: str | None = None
    rejected: tuple[Message, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """A file of training rows in chat JSONL, with the counts that estimates and limits need.

    ``tokens`` counts one epoch by the formula of the provider's chat format; ``longest`` is the
    longest row in tokens.
    """

    path: str
    sha256: str
    rows: int
    tokens: int
    longest: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """All that a backend must know to fine-tune once.

    ``hyperparameters`` holds only names of the backend's ``Params``; ``metadata`` is the user's.
    """

    base_model: str
    method: Method
    training: Rows
    validation: Rows | None = None
    hyperparameters: Mapping[str, Json] = field(default_factory=dict[str, Json])
    suffix: str | None = None
    seed: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, Json])
    integrations: tuple[Mapping[str, Json], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Why a spec cannot work, found without network or money. ``fix`` says what to do."""

    field: str
    message: str
    fix: str


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
    no URL query, no secret.
    """

    state: RemoteState
    raw: str
    problem: RemoteProblem | None = None
    progress: Progress | None = None
    model: str | None = None
    trained_tokens: int | None = None
    fields: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteEvent:
    """One line of a provider's training log. ``metrics`` as the provider names them."""

    id: str
    at: float
    level: str
    message: str
    metrics: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A model as it was at one step; can be registered as a model version."""

    id: str
    model: str
    step: int
    metrics: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRef:
    """A model that answers, as its provider names it.

    ``owner`` is who the provider says serves it: on the sandbox it says so, and every report
    shows it.
    """

    backend: str
    id: str
    base_model: str
    owner: str | None = None


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Lifecycle:
    """When a model goes away. Dates are ISO days; ``source`` says who told."""

    model: str
    inference_until: str | None
    training_until: str | None
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a training run will be billed for, before it starts.

    ``tokens`` is the expected number of billed tokens, ``at_most`` an upper bound; ``tier`` the
    price tier of training, where the provider has several.
    """

    tokens: int
    at_most: int
    epochs: int
    notes: tuple[str, ...] = ()
    tier: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens of one completion. ``cached`` is the part of ``input`` billed as cached."""

    input: int
    output: int
    cached: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatRequest:
    """One question to a model. ``sampling`` holds temperature, top_p, max_tokens, seed, ..."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Message, ...] = ()
    response_format: Mapping[str, Json] | None = None
    sampling: Mapping[str, Json] = field(default_factory=dict[str, Json])
    tenant: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatReply:
    """One answer. ``message`` is the assistant message as the provider sent it."""

    message: Message
    finish_reason: str | None
    usage: Usage
    model: str
    usage_counted_here: bool = False
    """True where the provider gave no usage and the tokens were counted on this side."""

    @property
    def text(self) -> str:
        """The textual content, empty when the answer is a tool call or a refusal."""
        content = self.message.get("content")
        return content if isinstance(content, str) else ""
