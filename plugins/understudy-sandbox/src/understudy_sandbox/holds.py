"""Requests that a fault holds, so that a harness can kill a client exactly there."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from understudy_sandbox.state import new_id

if TYPE_CHECKING:
    from starlette.requests import Request

    from understudy_sandbox.clock import Clock

_LOOK = 0.05  # real seconds between looks for a client that went away


@dataclass(slots=True, kw_only=True)
class Held:
    """One held request."""

    id: str
    operation: str
    phase: str
    ref: str | None
    since: float
    gate: asyncio.Event = field(default_factory=asyncio.Event)


class Holds:
    """The requests held now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, Held] = {}

    async def hold(self, request: Request, operation: str, phase: str, ref: str | None) -> bool:
        """Wait for release; False where the client went away instead."""
        held = Held(
            id=new_id("hold_", 8),
            operation=operation,
            phase=phase,
            ref=ref,
            since=self._clock.now(),
        )
        self._held[held.id] = held
        try:
            while not held.gate.is_set():
                if await request.is_disconnected():
                    return False
                with suppress(TimeoutError):
                    await asyncio.wait_for(held.gate.wait(), _LOOK)
        finally:
            self._held.pop(held.id, None)
        return True

    def shown(self) -> list[dict[str, Any]]:
        """What is held: id, operation, phase, id of what was made, since when."""
        return [
            {"id": h.id, "on": h.operation, "phase": h.phase, "ref": h.ref, "since": h.since}
            for h in self._held.values()
        ]

    def release(self, name: str | None) -> int:
        """Let one request go on, or all; how many that were."""
        chosen = [h for h in self._held.values() if name in (None, h.id)]
        for held in chosen:
            held.gate.set()
        return len(chosen)
