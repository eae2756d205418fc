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
from understudy_langfuse.query import FIELDS, expanded, filter_text
from understudy_langfuse.scores import Said, good_enough, judgements, trace_lists
from understudy_langfuse.settings import LangfuseSettings
from understudy_langfuse.shapes import decoded, encodable
from understudy_langfuse.watermark import Window, next_window, query_digest

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
            observations, cursor = self._page(window)
            window = window.after_page(cursor)
            yield TracePage(records=self._records(observations), watermark=window.mark(digest))
            if cursor is None:
                return

    def _page(self, window: Window) -> tuple[list[Observation], str | None]:
        try:
            return self._fitting_page(window, window.cursor)
        except NotFound as error:
            raise self._explained(error) from None
        except InvalidData:
            if window.cursor is None:
                raise
        # The server forgot the cursor: from the window's end again.
        return self._fitting_page(window, None)

    def _fitting_page(
        self, window: Window, cursor: str | None
    ) -> tuple[list[Observation], str | None]:
        while True:
            try:
                return self._ask(window, cursor)
            except TransientError as error:
                # A busy server says so; one that breaks off or fails may have too much to give.
                if error.status == 429 or self._size <= _SMALLEST_PAGE:
                    raise
                self._size = max(_SMALLEST_PAGE, self._size // 4)

    def _ask(self, window: Window, cursor: str | None) -> tuple[list[Observation], str | None]:
        options = self._options
        reply = self._connection.ask(
            _CALLS,
            lambda api: api.observations.get_many(
                fields=FIELDS,
                expand_metadata=expanded(options),
                limit=self._size,
                cursor=cursor,
                filter=filter_text(options, window),
                from_start_time=window.start,
                to_start_time=window.end,
                request_options={"max_retries": 0},
            ),
        )
        return [_observation(one) for one in reply.data], reply.meta.cursor

    def _explained(self, error: NotFound) -> NotFound:
        """Where Langfuse answers and has no v2 list, it is too old: its version is told."""
        try:
            health = self._connection.ask("its health", lambda api: api.health.health(), attempts=1)
        except Exception:  # noqa: BLE001 - then it is no Langfuse, which the first error says
            return error
        return NotFound(
            f"Langfuse at {self._settings.base_url} is version {health.version}, which has no "
            f"{_CALLS}. Upgrade the server to version 4 or later, or export its traces and use a "
            "file source.",
            code="old_server",
            status=error.status,
        )

    def _records(self, page: Sequence[Observation]) -> tuple[TraceRecord, ...]:
        said = self._judged(page) if self._options.scores else {}
        none = Judgement()
        judged = ((one, said.get(f"{one.trace}/{one.id}", none)) for one in page)
        return tuple(record(one, j) for one, j in judged if good_enough(j, self._options))

    def _judged(self, page: Sequence[Observation]) -> Mapping[str, Judgement]:
        found: list[Said] = []
        for traces in trace_lists(page):
            found += self._scores_of(traces)
        return judgements(page, found)

    def _scores_of(self, traces: str) -> Iterator[Said]:
        cursor: str | None = None
        while True:
            after = cursor
            reply = self._connection.ask(
                _SCORES,
                lambda api: api.scores.get_many(
                    trace_id=traces,
                    fields="subject",
                    limit=100,
                    cursor=after,  # noqa: B023 - called before the next turn
                    request_options={"max_retries": 0},
                ),
            )
            for one in reply.data:
                said = _said(one)
                if said is not None:
                    yield said
            cursor = reply.meta.cursor
            if cursor is None:
                return

    def close(self) -> None:
        """Give the connection back."""
        if self._connected is not None:
            self._connected.close()


def _observation(one: Any) -> Observation:
    extra = one.model_extra or {}
    return Observation(
        id=one.id,
        trace=one.trace_id or one.id,
        start=one.start_time,
        name=one.name,
        level=None if one.level is None else str(one.level.value),
        status=one.status_message,
        # The published contract names it otherwise than the SDK does.
        model=one.model or extra.get("providedModelName"),
        session=one.session_id or None,
        environment=one.environment,
        trace_name=one.trace_name,
        tags=tuple(one.tags or ()),
        input=_plain(one.input),
        output=_plain(one.output),
        parameters=_object(one.model_parameters),
        usage=one.usage_details or {},
        metadata=_object(one.metadata),
    )


def _plain(value: Any) -> Any:
    return encodable(value) if isinstance(value, str) else value


def _object(value: Any) -> Mapping[str, Json]:
    found = decoded(value)
    return found if isinstance(found, dict) else {}


def _said(one: Any) -> Said | None:
    subject = one.subject
    if subject is None or subject.kind not in {"trace", "observation"}:
        return None
    of_trace = subject.kind == "trace"
    return Said(
        trace=subject.id if of_trace else subject.trace_id or "",
        observation=None if of_trace else subject.id,
        name=one.name,
        kind=str(one.data_type),
        value=one.value,
        at=one.timestamp.timestamp(),
    )
