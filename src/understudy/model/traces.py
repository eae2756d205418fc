"""What applications logged: calls as sources give them, conversations as filters see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from understudy.model.chat import Json, Message

__all__ = ["Conversation", "Drop", "TracePage", "TraceRecord"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceRecord:
    """One logged call, or why a piece of a log is none.

    ``value`` is a call in the call-log schema (docs/data.md): ``id``, ``messages``,
    ``response``, and so on. A source that cannot make one gives what it found as ``value`` and
    says in ``problem`` what is wrong, in ``place`` where: then it is kept among the rejected rows
    under the code ``bad_trace``, and nothing is lost. ``line`` is the 1-based line or row of the
    file where it stands; services leave it out, their calls have ids.
    """

    value: Mapping[str, Json] = field(repr=False)
    line: int | None = None
    place: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class TracePage:
    """Calls in the order in which a service gave them, and where to go on after them.

    ``watermark`` is a JSON value of the source's own making, free of secrets. It is stored in the
    same breath as ``records``, and given back when the next run asks for more. A call that comes
    again (same ``id``) is dropped by the core, so a watermark may lie a little before the last
    call: late arrivals are then seen, and nothing comes twice.
    """

    records: tuple[TraceRecord, ...]
    watermark: Json


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """A checked row, as cleaning filters see it.

    ``messages`` is the request and, from index ``turn`` on, the answer, in the one form that
    datasets use. ``finish_reason``, ``flags``, ``scores``, ``metadata``, ``model`` and ``at`` are
    what the log said; sources that have no such thing leave them empty.
    """

    messages: tuple[Message, ...] = field(repr=False)
    turn: int
    source_id: str
    tools: tuple[Message, ...] = field(default=(), repr=False)
    finish_reason: str | None = None
    flags: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Json], repr=False)
    model: str | None = None
    at: str | None = None
    reference: str | None = field(default=None, repr=False)
    rejected: tuple[Message, ...] = field(default=(), repr=False)

    @property
    def answer(self) -> Message:
        """The message that the student is to learn."""
        return self.messages[-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Drop:
    """A filter's word that a row is no good lesson.

    ``reason`` is the code under which it is counted, by default the filter's name; ``place`` is
    the dotted path in the row; ``message`` says what is wrong, without text of the row. Among the
    rejected rows it is kept as it stood, or as ``kept`` where it must not be.
    """

    message: str
    place: str = ""
    reason: str = ""
    kept: Conversation | None = field(default=None, repr=False)
