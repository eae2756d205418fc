"""Where a pull stands: the window of time that is read, and how far.

Langfuse lists the latest calls first. A pull therefore fixes a window that ends when it begins,
and reads it to its beginning by cursor; calls that arrive meanwhile belong to the next window,
which begins a little before this one's end for those that arrived late.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from understudy.model import Json
from understudy_langfuse.options import LangfuseOptions

__all__ = ["Window", "next_window", "query_digest"]

_NARROWING = ("scores", "settle", "late", "page_size")


@dataclass(frozen=True, kw_only=True)
class Window:
    """Calls that began from ``start`` (None: from the first one on) and before ``end``.

    ``cursor`` is where the next page begins, ``begun`` whether there was one before it.
    """

    start: datetime | None
    end: datetime
    cursor: str | None = None
    begun: bool = False

    def after_page(self, cursor: str | None) -> Window:
        """The same window after a page that gave ``cursor``."""
        return replace(self, cursor=cursor, begun=True)

    def mark(self, digest: str) -> Json:
        """The watermark: read to the end where there is no cursor any more."""
        return {
            "query": digest,
            "start": self.start.isoformat() if self.start else None,
            "end": self.end.isoformat(),
            "cursor": self.cursor,
        }


class _Mark(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False)
    query: str
    start: AwareDatetime | None
    end: AwareDatetime
    cursor: str | None


def query_digest(options: LangfuseOptions, server: str, project: str) -> str:
    """Identifies what is asked for: with other filters, a watermark means nothing.

    Args:
        options: without what changes no call that is found.
        server: the server's address.
        project: the project's public key.
    """
    kept = options.model_dump(mode="json", exclude=set(_NARROWING) | {"until"})
    told: dict[str, Any] = {"options": kept, "server": server, "project": project}
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def next_window(
    since: Json | None, options: LangfuseOptions, digest: str, now: float
) -> Window | None:
    """The window to read, or None where there is nothing to read any more.

    Args:
        since: the last watermark; one of another query counts as none.
        options: bounds, ``settle`` and ``late``.
        digest: of the query.
        now: seconds since the epoch.
    """
    mark = _parsed(since)
    if mark is not None and mark.query == digest and mark.cursor is not None:
        return Window(start=mark.start, end=mark.end, cursor=mark.cursor, begun=True)
    present = datetime.fromtimestamp(now, UTC) - timedelta(seconds=options.settle)
    end = min(present, options.until) if options.until else present
    start = options.since
    if mark is not None and mark.query == digest:
        back = mark.end - timedelta(seconds=options.late)
        start = max(back, options.since) if options.since else back
    end = end.replace(microsecond=end.microsecond // 1000 * 1000)
    return None if start is not None and start >= end else Window(start=start, end=end)


def _parsed(since: Json | None) -> _Mark | None:
    try:
        return None if since is None else _Mark.model_validate(since)
    except ValidationError:
        return None
