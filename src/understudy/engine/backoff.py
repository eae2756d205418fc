"""When to look again: tenacity's exponential waits, without its sleeping."""

from __future__ import annotations

import math

from tenacity import RetryCallState, Retrying, wait_exponential, wait_random_exponential

__all__ = ["poll_interval", "retry_delay", "tick"]


def _state(attempt: int) -> RetryCallState:
    state = RetryCallState(Retrying(), fn=None, args=(), kwargs={})
    state.attempt_number = max(attempt, 1)
    return state


def poll_interval(looks: int, *, shortest: float, longest: float) -> float:
    """Seconds until the next look at work that goes well; doubles every four looks."""
    wait = wait_exponential(multiplier=shortest, max=longest, exp_base=2)
    return wait(_state(1 + looks // 4))


def retry_delay(failures: int, *, asked: float | None = None) -> float:
    """Seconds until the next try after trouble: what the provider asked for, or a growing wait."""
    if asked is None:
        asked = wait_random_exponential(multiplier=2, max=300)(_state(failures))
    # "Retry at once" from a provider that goes on refusing would be a busy loop.
    return max(asked, 1.0)


def tick(now: float, interval: float) -> float:
    """The next common tick at least half an ``interval`` away.

    Jobs that are polled on common ticks are due together, so one list request serves them all.
    """
    return math.ceil((now + interval / 2) / interval) * interval
