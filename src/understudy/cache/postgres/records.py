"""Generations as rows of ``generations``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Connection, sql

from understudy.cache.base import Generation, GenerationState
from understudy.cache.codec import Codec

__all__ = ["Record", "current", "fetch", "listed", "rows_table", "staging_table"]

_SELECT = """
SELECT g.number, g.cache, g.id, g.model, g.state, g.created_at, g.published_at, g.published,
    g.ttl, g.entries, g.bytes, g.base, g.dictionary, g.meta, c.current = g.id
FROM understudy_cache.generations g JOIN understudy_cache.caches c ON c.name = g.cache
"""
_LISTED = f"{_SELECT} WHERE g.cache = %s ORDER BY g.created_at DESC, g.number DESC"
_ONE = f"{_SELECT} WHERE g.cache = %s AND g.id = %s"
_LOCKED = f"{_ONE} FOR UPDATE OF g"
_SHARED = f"{_ONE} FOR SHARE OF g"
_CURRENT = f"{_SELECT} WHERE g.cache = %s AND c.current = g.id"


class Record:
    """A generation, the number of its tables, and its dictionary (None while undecided)."""

    def __init__(self, row: Sequence[Any]) -> None:
        published_at, ttl = row[6], row[8]
        self.number: int = row[0]
        self.codec = None if row[12] is None else Codec(row[12])
        self.generation = Generation(
            cache=row[1],
            id=row[2],
            model=row[3],
            state=GenerationState(row[4]),
            created_at=row[5],
            published_at=published_at,
            order=row[7],
            expires_at=None if published_at is None or ttl is None else published_at + ttl,
            entries=row[9],
            bytes=row[10],
            base=row[11],
            codec="plain" if row[12] is None else "zstd",
            meta=row[13],
            current=bool(row[14]),
        )


def rows_table(number: int) -> sql.Identifier:
    """The table of a published generation's rows."""
    return sql.Identifier("understudy_cache", f"g_{number}")


def staging_table(number: int) -> sql.Identifier:
    """The table of rows as they come."""
    return sql.Identifier("understudy_cache", f"s_{number}")


def listed(connection: Connection[Any], cache: str) -> list[Record]:
    """Every generation, newest first."""
    return [Record(row) for row in connection.execute(_LISTED, (cache,))]


def current(connection: Connection[Any], cache: str) -> Record | None:
    """The one that counts."""
    row = connection.execute(_CURRENT, (cache,)).fetchone()
    return None if row is None else Record(row)


def fetch(
    connection: Connection[Any], cache: str, generation: str, *, lock: str = ""
) -> Record | None:
    """One generation.

    Args:
        connection: in a transaction where it is locked.
        cache: its name.
        generation: its id.
        lock: ``"alone"`` keeps everybody out, ``"shared"`` those who want to be alone.
    """
    query = {"": _ONE, "alone": _LOCKED, "shared": _SHARED}[lock]
    row = connection.execute(query, (cache, generation)).fetchone()
    return None if row is None else Record(row)
