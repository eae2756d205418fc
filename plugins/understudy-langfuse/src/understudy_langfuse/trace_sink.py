"""Every call that was answered here as a generation in Langfuse: on disk first, then by OTLP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

import orjson

from understudy.backend import Clock
from understudy.backend import Settings as BackendSettings
from understudy.errors import BackendError, InvalidData, RateLimited
from understudy.hookspecs import TraceSink
from understudy.model import Delivery, Rejection, TracedCall
from understudy_langfuse.settings import LangfuseSettings
from understudy_langfuse.shapes import encodable
from understudy_langfuse.spans import call_span
from understudy_langfuse.spool import Spool, Waiting

if TYPE_CHECKING:
    from understudy_langfuse.connection import Connection

__all__ = ["LangfuseTraceSink"]

_BATCH = 100  # spans in one request
_BATCH_BYTES = 2 << 20
_LONGEST_PAUSE = 300.0  # seconds


class LangfuseTraceSink(TraceSink):
    """Tells Langfuse of calls, at least once each; ids make them one there.

    ``deliver`` is for one thread at a time, ``capture`` for any number.
    """

    Settings: ClassVar[type[BackendSettings]] = LangfuseSettings

    def __init__(self, *, settings: BackendSettings, folder: Path, clock: Clock) -> None:
        super().__init__(settings=settings, folder=folder, clock=clock)
        self._settings = cast("LangfuseSettings", settings)
        self._opened: Spool | None = None
        self._connected: Connection | None = None
        self._failures = 0

    @property
    def spool(self) -> Spool:
        """The queue on disk."""
        if self._opened is None:
            self._opened = Spool(self.folder)
        return self._opened

    @property
    def _connection(self) -> Connection:
        if self._connected is None:
            from understudy_langfuse.connection import Connection

            self._connected = Connection(self._settings, self.clock)
        return self._connected

    def capture(self, calls: Iterable[TracedCall]) -> None:
        """Put calls on disk, in one transaction."""
        environment = self._settings.environment
        self.spool.put(
            (encodable(call.id), orjson.dumps(call_span(call, environment))) for call in calls
        )

    def deliver(self) -> Delivery:
        """Send what waits until none is left or the server has had enough."""
        sent, rejected = 0, list[Rejection]()
        while batch := self.spool.next(_BATCH, _BATCH_BYTES):
            try:
                refused = self._send(batch)
            except BackendError as error:
                return Delivery(
                    sent=sent,
                    waiting=self.spool.waiting(),
                    rejected=tuple(rejected),
                    not_before=self.clock.now() + self._pause(error),
                    trouble=str(error),
                )
            self._failures = 0
            sent += len(batch) - len(refused)
            rejected += refused
        return Delivery(sent=sent, waiting=0, rejected=tuple(rejected))

    def _send(self, batch: Sequence[Waiting]) -> list[Rejection]:
        """Deliver a batch; where the server refuses it, its halves, down to the one at fault."""
        try:
            spans = [orjson.loads(span) for _, _, span in batch]
            self._connection.post_spans(spans, attempts=1)
        except InvalidData as error:
            if len(batch) == 1:
                self.spool.refuse(batch[0], str(error))
                return [Rejection(id=batch[0][1], reason=str(error))]
            half = len(batch) // 2
            return self._send(batch[:half]) + self._send(batch[half:])
        self.spool.forget(batch)
        return []

    def _pause(self, error: BackendError) -> float:
        self._failures += 1
        asked = error.retry_after if isinstance(error, RateLimited) else None
        return asked if asked is not None else min(_LONGEST_PAUSE, 2.0**self._failures)

    def close(self) -> None:
        """Give the connection and the file back; what waits stays on disk."""
        if self._connected is not None:
            self._connected.close()
        if self._opened is not None:
            self._opened.close()
            self._opened = None
