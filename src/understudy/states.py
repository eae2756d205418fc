"""The job state machine: states, events, one table. Pure: no I/O, no clock.

Rules that the table keeps:

* An event without an arrow raises ``IllegalTransition``; nothing is ignored silently.
* Only the provider's word (``REMOTE_FAILED``) or an input it can never take (``REFUSED``) leads
  to ``failed``. Trouble on this side leads to ``needs_attention``, which remembers the stage it
  came from, and ``RETRY`` leads back there.
* What the provider cancelled is ``cancelled``, whoever asked for it, and never ``failed``.
* Once the provider has said *succeeded* the training is paid for: nothing leads to ``failed`` or
  ``cancelled`` any more. A cancel that came too late ends in ``registering``.
"""

from __future__ import annotations

from enum import StrEnum

from understudy.errors import IllegalTransition

__all__ = ["EVENTS", "LIVE", "TERMINAL", "TRANSITIONS", "Event", "State", "diagram", "next_state"]


class State(StrEnum):
    """Where a job is."""

    CREATED = "created"
    UPLOADING = "uploading"
    SUBMITTING = "submitting"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"
    REGISTERING = "registering"
    EVALUATING = "evaluating"
    READY = "ready"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    NEEDS_ATTENTION = "needs_attention"


class Event(StrEnum):
    """What can happen to a job."""

    UPLOAD = "upload"
    UPLOADED = "uploaded"
    REFUSED = "refused"
    """The provider refused the request or the rows for good, before any work was billed."""
    REMOTE_QUEUED = "remote_queued"
    REMOTE_RUNNING = "remote_running"
    REMOTE_PAUSING = "remote_pausing"
    REMOTE_PAUSED = "remote_paused"
    REMOTE_RESUMING = "remote_resuming"
    REMOTE_CANCELLING = "remote_cancelling"
    REMOTE_SUCCEEDED = "remote_succeeded"
    REMOTE_FAILED = "remote_failed"
    REMOTE_CANCELLED = "remote_cancelled"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    WISH_REFUSED = "wish_refused"
    """The provider would not pause, resume or cancel."""
    NEVER_STARTED = "never_started"
    """A cancelled job that never reached the provider."""
    REGISTERED = "registered"
    PASSED = "passed"
    FELL_SHORT = "fell_short"
    STUCK = "stuck"
    """Trouble on this side that time alone will not mend."""
    RETRY = "retry"
    ATTACH = "attach"
    """A person, or a find by key, named the remote job that belongs to this one."""
    RESUBMIT = "resubmit"
    """A person confirmed that no remote job exists, so that it may be submitted again."""


TERMINAL = frozenset({State.READY, State.REJECTED, State.FAILED, State.CANCELLED})

_REMOTE = (
    State.QUEUED,
    State.RUNNING,
    State.PAUSING,
    State.PAUSED,
    State.RESUMING,
)
_PAID = (State.REGISTERING, State.EVALUATING)
_TO_STAGE = "<the stage it came from>"


def _table() -> dict[tuple[State, Event], State | str]:
    s, e = State, Event
    table: dict[tuple[State, Event], State | str] = {
        (s.CREATED, e.UPLOAD): s.UPLOADING,
        (s.UPLOADING, e.UPLOADED): s.SUBMITTING,
        (s.CREATED, e.REFUSED): s.FAILED,
        (s.UPLOADING, e.REFUSED): s.FAILED,
        (s.SUBMITTING, e.REFUSED): s.FAILED,
        (s.SUBMITTING, e.ATTACH): s.QUEUED,
        (s.RUNNING, e.PAUSE): s.PAUSING,
        (s.QUEUED, e.PAUSE): s.PAUSING,
        (s.PAUSED, e.RESUME): s.RESUMING,
        (s.PAUSING, e.WISH_REFUSED): s.RUNNING,
        (s.RESUMING, e.WISH_REFUSED): s.PAUSED,
        (s.CANCELLING, e.WISH_REFUSED): s.RUNNING,
        (s.CANCELLING, e.NEVER_STARTED): s.CANCELLED,
        (s.CANCELLING, e.ATTACH): s.CANCELLING,
        (s.REGISTERING, e.REGISTERED): s.EVALUATING,
        (s.EVALUATING, e.PASSED): s.READY,
        (s.EVALUATING, e.FELL_SHORT): s.REJECTED,
        (s.NEEDS_ATTENTION, e.RETRY): _TO_STAGE,
        (s.NEEDS_ATTENTION, e.ATTACH): s.RUNNING,
        (s.NEEDS_ATTENTION, e.RESUBMIT): s.SUBMITTING,
        (s.NEEDS_ATTENTION, e.CANCEL): s.CANCELLING,
    }
    remote = {
        e.REMOTE_QUEUED: s.QUEUED,
        e.REMOTE_RUNNING: s.RUNNING,
        e.REMOTE_PAUSING: s.PAUSING,
        e.REMOTE_PAUSED: s.PAUSED,
        e.REMOTE_RESUMING: s.RESUMING,
        e.REMOTE_CANCELLING: s.CANCELLING,
        e.REMOTE_SUCCEEDED: s.REGISTERING,
        e.REMOTE_FAILED: s.FAILED,
        e.REMOTE_CANCELLED: s.CANCELLED,
    }
    for source in (*_REMOTE, s.CANCELLING):
        table |= {(source, event): target for event, target in remote.items()}
    # A wish stands until the provider has acted on it: it may report the old state for a while.
    table |= {(s.PAUSING, event): s.PAUSING for event in (e.REMOTE_QUEUED, e.REMOTE_RUNNING)}
    table |= {(s.RESUMING, event): s.RESUMING for event in (e.REMOTE_PAUSING, e.REMOTE_PAUSED)}
    table |= {
        (s.CANCELLING, event): s.CANCELLING
        for event, target in remote.items()
        if target in {*_REMOTE, s.CANCELLING}
    }
    for source in (s.CREATED, s.UPLOADING, s.SUBMITTING, *_REMOTE):
        table[source, e.CANCEL] = s.CANCELLING
    for source in (
        s.CREATED,
        s.UPLOADING,
        s.SUBMITTING,
        *_REMOTE,
        s.CANCELLING,
        s.REGISTERING,
        s.EVALUATING,
    ):
        table[source, e.STUCK] = s.NEEDS_ATTENTION
    return table


TRANSITIONS = _table()
EVENTS = tuple(Event)
LIVE = frozenset(State) - TERMINAL


def next_state(state: State, event: Event, *, stage: State | None = None) -> State:
    """The state after ``event``.

    Args:
        state: the present state.
        event: what happened.
        stage: for ``needs_attention``, the state it was entered from.

    Raises:
        IllegalTransition: there is no such arrow; the message lists the legal events.
    """
    legal = sorted(e.value for (s, e) in TRANSITIONS if s is state)
    if state is State.NEEDS_ATTENTION and stage in _PAID:
        # The training is paid for: nothing but going on leads out of here.
        legal = [Event.RETRY.value]
    target = TRANSITIONS.get((state, event))
    if target is None or event not in legal:
        raise IllegalTransition(
            f"a job that is {state.value!r} cannot take {event.value!r}; "
            + (f"it can take: {', '.join(legal)}" if legal else "it has ended")
        )
    if isinstance(target, State):
        return target
    if stage is None or stage in TERMINAL or stage is State.NEEDS_ATTENTION:
        raise IllegalTransition(
            f"a job that needs attention can only be retried into a live stage, not {stage!r}"
        )
    return stage


def diagram() -> str:
    """The table as a Mermaid state diagram, for README. Equal arrows share a line."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (source, event), target in TRANSITIONS.items():
        if isinstance(target, State) and target is not source:
            arrows.setdefault((source.value, target.value), []).append(event.value)
    lines = ["stateDiagram-v2", "    [*] --> created"]
    for (start, end), events in arrows.items():
        lines.append(f"    {start} --> {end}: {', '.join(events)}")
    lines += [
        "    note right of needs_attention: retry leads back to the stage it came from",
        *(f"    {state.value} --> [*]" for state in State if state in TERMINAL),
    ]
    return "\n".join(lines)
