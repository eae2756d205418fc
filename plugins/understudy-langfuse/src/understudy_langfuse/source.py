"""Calls of a Langfuse project, page by page: what is new since the last watermark."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import BaseModel

from understudy.backend import Clock
from understudy.backend import Settings as BackendSettings
from understudy.errors import InvalidData, NotFound, TransientError
from understudy.hookspecs import TraceSource
from understudy.model import Json, TracePage, TraceRecord
from understudy_langfuse.calls import Judgement, Observation, record
from understudy_langfuse.options import LangfuseOptions
from understudy_langfuse.query import parameters
from understudy_langfuse.scores import Said, good_enough, judgements, trace_lists
from understudy_langfuse.settings import LangfuseSettings
from understudy_langfuse.watermark import Window, next_window, query_digest
from understudy_langfuse.wire import observation_of, page_of, said_of

if TYPE_CHECKING:
    from understudy_langfuse.connection import Connection

__all__ = ["LangfuseSource"]

_SMALLEST_PAGE = 10
_CALLS, _SCORES = "v2 list of observations", "v3 list of scores"


class LangfuseSource(TraceSource):
    """Generations of a project as calls.

    Calls come the latest first. Pages that a server cannot manage are asked for again in smaller
    ones. A cursor that it no longer knows begins the window anew; the core drops what comes twice.
    """

    Settings: ClassVar[type[BackendSettings]] = LangfuseSettings
    Options: ClassVar[type[BaseModel]] = LangfuseOptions
    sleep: Callable[[float], None] = staticmethod(time.sleep)
    """Waits for so many seconds; a test puts its own in place."""

    def __init__(self, *, settings: BackendSettings, options: BaseModel, clock: Clock) -> None:
        super().__init__(settings=settings, options=options, clock=clock)
        self._settings = cast("LangfuseSettings", settings)
        self._options = cast("LangfuseOptions", options)
        self._size = self._options.page_size
        self._connected: Connection | None = None

    @property
    def _connection(self) -> Connection:
        if self._connected is None:
            from understudy_langfuse.connection import Connection

            self._connected = Connection(self._settings, self.clock, self.sleep)
        return self._connected

    def pages(self, since: Json | None) -> Iterator[TracePage]:
        """What came after ``since``; see ``TraceSource``.

        Raises:
            AuthError: the pair of keys is refused.
            NotFound: there is no such host, it is no Langfuse, or one without the v2 lists.
            RateLimited: the server asks to wait longer than this source does.
            Unavailable: it failed more often than the settings allow.
            InvalidData: it did not understand a condition.
        """
        digest = query_digest(self._options, self._settings.base_url, self._settings.public_key)
        window = next_window(since, self._options, digest, self.clock.now())
        while window is not None:
            rows, cursor = self._page(window)
            window = window.after_page(cursor)
            yield TracePage(records=self._records(rows), watermark=window.mark(digest))
            if cursor is None:
                return

    def _page(self, window: Window) -> tuple[list[Any], str | None]:
        try:
            return self._fitting_page(window, window.cursor)
        except NotFound as error:
            raise self._explained(error) from None
        except InvalidData:
            if window.cursor is None:
                raise
        # The server forgot the cursor: from the window's end again.
        return self._fitting_page(window, None)

    def _fitting_page(self, window: Window, cursor: str | None) -> tuple[list[Any], str | None]:
        while True:
            try:
                return self._ask(window, cursor)
            except TransientError as error:
                # A busy server says so; one that breaks off or fails may have too much to give.
                if error.status == 429 or self._size <= _SMALLEST_PAGE:
                    raise
                self._size = max(_SMALLEST_PAGE, self._size // 4)

    def _ask(self, window: Window, cursor: str | None) -> tuple[list[Any], str | None]:
        query = parameters(self._options, window) | {"limit": self._size}
        if cursor is not None:
            query["cursor"] = cursor
        return page_of(self._connection.get(_CALLS, "v2/observations", query), _CALLS)

    def _explained(self, error: NotFound) -> NotFound:
        """Where Langfuse answers and has no v2 list, it is too old: its version is told."""
        try:
            health = self._connection.get("its health", "health", {}, attempts=1)
            version = str(health["version"])
        except Exception:  # noqa: BLE001 - then it is no Langfuse, which the first error says
            return error
        return NotFound(
            f"Langfuse at {self._settings.base_url} is version {version}, which has no "
            f"{_CALLS}. Upgrade the server to version 4 or later, or export its traces and use a "
            "file source.",
            code="old_server",
            status=error.status,
        )

    def _records(self, rows: Sequence[Any]) -> tuple[TraceRecord, ...]:
        page = [observation_of(row) for row in rows]
        said = self._judged([one for one in page if one is not None])
        none, made = Judgement(), list[TraceRecord]()
        for row, one in zip(rows, page, strict=True):
            if one is None:
                made.append(TraceRecord(value={"row": row}, place="id", problem="has no id"))
                continue
            judgement = said.get(f"{one.trace}/{one.id}", none)
            if good_enough(judgement, self._options):
                made.append(record(one, judgement))
        return tuple(made)

    def _judged(self, page: Sequence[Observation]) -> Mapping[str, Judgement]:
        if not self._options.scores:
            return {}
        found: list[Said] = []
        for traces in trace_lists(page):
            found += self._scores_of(traces)
        return judgements(page, found)

    def _scores_of(self, traces: str) -> Iterator[Said]:
        query: dict[str, Any] = {"traceId": traces, "fields": "subject", "limit": 100}
        while True:
            reply = self._connection.get(_SCORES, "v3/scores", query)
            rows, cursor = page_of(reply, _SCORES)
            yield from (one for one in map(said_of, rows) if one is not None)
            if cursor is None:
                return
            query["cursor"] = cursor

    def close(self) -> None:
        """Give the connection back."""
        if self._connected is not None:
            self._connected.close()
