"""What Understudy tells an observability service: calls, scores, dataset items, experiments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from understudy.model.chat import ChatReply, ChatRequest, Json

__all__ = [
    "DatasetItem",
    "Delivery",
    "ExperimentItem",
    "ExperimentRun",
    "Rejection",
    "Score",
    "SinkReport",
    "TracedCall",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class TracedCall:
    """One call that was answered here, or failed here.

    ``id`` is unique; a sink derives its own ids from it, so that the same call sent twice is one
    call there. ``began`` and ``ended`` are seconds since the epoch. ``error`` says in words why
    there is no ``reply``. ``session`` groups the calls of one conversation.
    """

    id: str
    name: str
    began: float
    ended: float
    request: ChatRequest = field(repr=False)
    reply: ChatReply | None = field(default=None, repr=False)
    error: str | None = None
    tags: tuple[str, ...] = ()
    environment: str | None = None
    session: str | None = None
    user: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Json], repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One judgement of one call.

    ``id`` is unique: the same score sent twice is one score there. ``call`` is the id of the
    call: one that a source of the same service gave, or a ``TracedCall``'s.
    """

    id: str
    call: str
    name: str
    value: float | bool | str
    comment: str | None = field(default=None, repr=False)
    at: float | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Json], repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetItem:
    """One item of a dataset that the service keeps. ``call`` is the call that it came from."""

    id: str
    input: Json = field(repr=False)
    expected: Json = field(default=None, repr=False)
    call: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Json], repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentItem:
    """What a model answered to one item, and how that was scored.

    ``item`` is the id of the ``DatasetItem``. Times are seconds since the epoch.
    """

    item: str
    input: Json = field(repr=False)
    output: Json = field(repr=False)
    began: float
    ended: float
    expected: Json = field(default=None, repr=False)
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    model: str | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentRun:
    """One evaluation of one model on a dataset.

    ``name`` is unique within ``dataset``: the same run written twice is one run there. ``items``
    is read once, as a stream; ``scores`` are those of the run as a whole.
    """

    name: str
    dataset: str | None
    items: Iterable[ExperimentItem] = field(repr=False)
    description: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """Something that the service refused for good: its id and the reason, free of its text."""

    id: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SinkReport:
    """What became of things that were written. ``place`` is where a person finds them."""

    accepted: int
    rejected: tuple[Rejection, ...] = ()
    place: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """What one look at the waiting calls brought.

    ``waiting`` calls are still on disk. ``not_before`` (seconds since the epoch) is when to look
    again after trouble, which ``trouble`` tells in words; None is at once.
    """

    sent: int
    waiting: int
    rejected: tuple[Rejection, ...] = ()
    not_before: float | None = None
    trouble: str = ""
