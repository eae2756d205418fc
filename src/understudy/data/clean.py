"""Cleaning: which well-formed calls are no good as lessons, and which rows came before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.data.reasons import Reason, RowError
from understudy.recipe import Cleaning

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Seen", "check_call"]

_CUT = frozenset({"length", "content_filter", "max_tokens"})


def check_call(raw: dict[str, Any], cleaning: Cleaning) -> Any:
    """The answer of a logged call that passes the filters.

    Reasons are looked for in the order error, incomplete, truncated, flagged, low_score; the
    first one counts. A call without any answer is dropped whatever ``drop`` says.

    Raises:
        RowError: the call is dropped, or its fields are malformed.
    """
    drop = cleaning.drop
    if "error" in drop and raw.get("error") is not None:
        raise RowError(Reason.ERROR, "error", "the call failed")
    response = raw.get("response")
    if response is None:
        raise RowError(Reason.INCOMPLETE, "response", "there is no response")
    answer = response.get("message") if isinstance(response, dict) else None
    if not isinstance(answer, dict):
        raise RowError(Reason.WRONG_TYPE, "response", 'must be {"message": {...}} or null')
    if "incomplete" in drop and _says_nothing(answer):
        raise RowError(Reason.INCOMPLETE, "response.message", "the answer is empty")
    finish = response.get("finish_reason")
    if "truncated" in drop and isinstance(finish, str) and finish in _CUT:
        raise RowError(Reason.TRUNCATED, "response.finish_reason", "the answer was cut off")
    flags = raw.get("flags")
    if flags is not None and not isinstance(flags, list):
        raise RowError(Reason.WRONG_TYPE, "flags", "must be a list of strings")
    if "flagged" in drop and flags:
        raise RowError(Reason.FLAGGED, "flags", "somebody flagged the answer")
    _check_scores(raw.get("scores"), cleaning.min_score)
    return answer


def _says_nothing(answer: dict[str, Any]) -> bool:
    if answer.get("tool_calls") or answer.get("function_call") or answer.get("refusal"):
        return False
    content = answer.get("content")
    return content is None or content == [] or (isinstance(content, str) and not content.strip())


def _check_scores(scores: Any, least: dict[str, float]) -> None:
    if scores is None:
        return
    if not isinstance(scores, dict):
        raise RowError(Reason.WRONG_TYPE, "scores", "must be an object of numbers")
    for name, bound in least.items():
        value = scores.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RowError(Reason.WRONG_TYPE, f"scores.{name}", "must be a number")
        if value < bound:
            raise RowError(Reason.LOW_SCORE, f"scores.{name}", f"is below {bound:g}")


class Seen:
    """A set of digests that stays small in memory: past ``limit`` it moves to a file.

    Args:
        path: where the file may be made; the caller removes it.
        limit: digests held in memory, about 100 bytes each.
    """

    def __init__(self, path: Path, *, limit: int = 500_000) -> None:
        self._path, self._limit = path, limit
        self._memory: set[bytes] = set()
        self._disk: sqlite3.Connection | None = None

    def add(self, digest: bytes) -> bool:
        """Whether ``digest`` was not there before; it is now."""
        if self._disk is not None:
            done = self._disk.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,))
            return done.rowcount == 1
        if digest in self._memory:
            return False
        self._memory.add(digest)
        if len(self._memory) > self._limit:
            self._disk = self._spill()
        return True

    def _spill(self) -> sqlite3.Connection:
        import sqlite3

        # Nothing in it outlives the run, so it needs neither journal nor sync.
        disk = sqlite3.connect(self._path, isolation_level=None)
        disk.execute("PRAGMA journal_mode=OFF")
        disk.execute("PRAGMA synchronous=OFF")
        disk.execute("PRAGMA cache_size=-32768")
        disk.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        disk.execute("BEGIN")
        digests = sorted(self._memory)
        disk.executemany("INSERT INTO seen VALUES (?)", ((digest,) for digest in digests))
        self._memory = set()
        return disk

    def close(self) -> None:
        """Let go of the file."""
        if self._disk is not None:
            self._disk.close()
