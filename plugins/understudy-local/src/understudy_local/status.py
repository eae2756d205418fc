"""From the files of a job's folder to what the engine is told. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from understudy.model import Json, Progress, RemoteProblem, RemoteState, RemoteStatus

__all__ = ["STATES", "Look", "is_resting", "status_of", "word_of"]

STATES: Mapping[str, RemoteState] = {
    "queued": RemoteState.QUEUED,
    "running": RemoteState.RUNNING,
    "pausing": RemoteState.PAUSING,
    "paused": RemoteState.PAUSED,
    "resuming": RemoteState.RESUMING,
    "cancelling": RemoteState.CANCELLING,
    "succeeded": RemoteState.SUCCEEDED,
    "failed": RemoteState.FAILED,
    "cancelled": RemoteState.CANCELLED,
}
"""Every word that a job can be in, with what it means to the engine."""

_TOLD = (
    "step",
    "total_steps",
    "loss",
    "learning_rate",
    "tokens_per_second",
    "seconds_left",
    "peak_memory_bytes",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What was seen in a job's folder. ``alive``: its worker runs, or one was just started."""

    outcome: Mapping[str, Any] | None
    worker: Mapping[str, Any] | None
    heartbeat: Mapping[str, Any] | None
    alive: bool
    cancel: bool
    pause: bool


def is_resting(look: Look) -> bool:
    """Whether no worker is wanted: the job has ended, or is paused and stays so."""
    paused = (look.worker or {}).get("state") == "paused"
    return look.outcome is not None or (look.pause and paused and not look.cancel)


def word_of(look: Look) -> str:
    """The one word for where the job is. Words of a newer version pass as they are."""
    if look.outcome is not None:
        return str(look.outcome.get("state"))
    said = str((look.worker or {}).get("state") or "queued")
    if look.cancel:
        return "cancelling"
    if look.pause:
        return "paused" if said == "paused" else "pausing"
    if said in {"paused", "stopped"}:
        return "resuming"
    if said == "running" and not look.alive:
        # Its worker has died and another takes over.
        return "resuming"
    return said


def status_of(look: Look, *, model: str, usd_per_hour: Decimal | None = None) -> RemoteStatus:
    """One look as the engine wants it; ``model`` is what a success is called.

    ``usd_per_hour`` is what an hour of one device costs the user, if anything.
    """
    word = word_of(look)
    state = STATES.get(word, RemoteState.UNKNOWN)
    outcome = look.outcome or {}
    beat = look.heartbeat or {}
    fields: dict[str, Json] = {name: beat[name] for name in _TOLD if beat.get(name) is not None}
    if outcome:
        fields["device_seconds"] = outcome.get("device_seconds")
    return RemoteStatus(
        state=state,
        raw=word,
        problem=_problem(outcome) if state is RemoteState.FAILED else None,
        progress=None if state.terminal else _progress(beat),
        model=model if state is RemoteState.SUCCEEDED else None,
        trained_tokens=outcome.get("trained_tokens") if outcome else None,
        fields=fields,
        usd=None if usd_per_hour is None else _cost(outcome, usd_per_hour),
    )


def _cost(outcome: Mapping[str, Any], usd_per_hour: Decimal) -> Decimal:
    seconds = Decimal(str(outcome.get("device_seconds") or 0))
    return (usd_per_hour * seconds / 3600).quantize(Decimal("0.000001"))


def _problem(outcome: Mapping[str, Any]) -> RemoteProblem:
    told = outcome.get("problem") or {}
    return RemoteProblem(
        message=str(told.get("message") or "it failed and said nothing; see output.txt"),
        code=told.get("code"),
    )


def _progress(beat: Mapping[str, Any]) -> Progress | None:
    step = beat.get("step")
    if step is None:
        return None
    left, at = beat.get("seconds_left"), beat.get("at")
    return Progress(
        step=step,
        total_steps=beat.get("total_steps"),
        finish_at=at + left if left is not None and at is not None else None,
    )
