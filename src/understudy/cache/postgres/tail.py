"""Live answers in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import Connection

from understudy.cache.base import TailRow
from understudy.cache.postgres.connections import Connections

__all__ = ["Tail"]

_AT_ONCE = 1_000
_PUT = """
INSERT INTO understudy_cache.tail (cache, key, value, expires_at, carried)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (cache, key) DO UPDATE
SET value = excluded.value, expires_at = excluded.expires_at, carried = excluded.carried
"""
_HELD = """
SELECT count(*), coalesce(sum(length(value)), 0)::bigint FROM understudy_cache.tail
WHERE cache = %s AND key = ANY(%s::bytea[])
"""
_EVICT = """
WITH gone AS (
    DELETE FROM understudy_cache.tail WHERE cache = %s AND place IN (
        SELECT place FROM (
            SELECT place, sum(length(value)) OVER (ORDER BY place) - length(value) AS older
            FROM understudy_cache.tail WHERE cache = %s
        ) AS weighed WHERE older < %s
    ) RETURNING length(value) AS size
)
SELECT count(*), coalesce(sum(size), 0)::bigint FROM gone
"""
_REMOVE = """
WITH gone AS (
    DELETE FROM understudy_cache.tail
    WHERE cache = %s AND (expires_at <= %s OR key = ANY(%s::bytea[]))
    RETURNING length(value) AS size
)
SELECT count(*), coalesce(sum(size), 0)::bigint FROM gone
"""
_NOTE = """
UPDATE understudy_cache.caches
SET tail_entries = tail_entries + %s, tail_bytes = tail_bytes + %s
WHERE name = %s RETURNING tail_bytes
"""
_VALUES = """
SELECT key, value FROM understudy_cache.tail
WHERE cache = %s AND key = ANY(%s::bytea[]) AND (expires_at IS NULL OR expires_at > %s)
AND (carried OR %s)
"""
_SCAN = """
SELECT place, key, value, expires_at, carried FROM understudy_cache.tail
WHERE cache = %s AND place > %s AND (expires_at IS NULL OR expires_at > %s)
ORDER BY place LIMIT %s
"""
_SIZE = "SELECT tail_entries, tail_bytes FROM understudy_cache.caches WHERE name = %s"


class Tail:
    """The tails of all caches of one store."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def put(
        self, connection: Connection[Any], cache: str, rows: Sequence[TailRow], *, limit: int | None
    ) -> None:
        """Keep rows; over ``limit`` bytes the oldest go. In a transaction that holds the cache."""
        keys = [row.key for row in rows]
        entries, size = _pair(connection, _HELD, (cache, keys))
        values = [(cache, row.key, row.value, row.expires_at, row.carried) for row in rows]
        with connection.cursor() as cursor:
            cursor.executemany(_PUT, values)
        more, larger = _pair(connection, _HELD, (cache, keys))
        over = _note(connection, cache, more - entries, larger - size) - (limit or 0)
        if limit is not None and over > 0:
            entries, size = _pair(connection, _EVICT, (cache, cache, over))
            _note(connection, cache, -entries, -size)

    def values(
        self, cache: str, keys: Sequence[bytes], now: float, *, refusals: bool
    ) -> dict[bytes, bytes]:
        """Those that are there and have not expired."""
        with self._connections.reaching() as connection:
            rows = connection.execute(_VALUES, (cache, list(keys), now, refusals), binary=True)
            return dict(rows.fetchall())

    def scan(self, cache: str, now: float) -> Iterator[TailRow]:
        """Every row that has not expired, oldest first."""
        place = 0
        while True:
            with self._connections.reaching() as connection:
                values = (cache, place, now, _AT_ONCE)
                rows = connection.execute(_SCAN, values, binary=True).fetchall()
            if not rows:
                return
            for _, key, value, expires_at, carried in rows:
                yield TailRow(key=key, value=value, expires_at=expires_at, carried=carried)
            place = rows[-1][0]

    def remove(
        self, connection: Connection[Any], cache: str, keys: Sequence[bytes], now: float
    ) -> None:
        """Delete what has expired, and ``keys``. In a transaction that holds the cache."""
        entries, size = _pair(connection, _REMOVE, (cache, now, list(keys)))
        _note(connection, cache, -entries, -size)

    def size(self, cache: str) -> tuple[int, int]:
        """Entries and bytes of values."""
        with self._connections.reaching() as connection:
            return _pair(connection, _SIZE, (cache,))


def _pair(connection: Connection[Any], query: str, values: Sequence[Any]) -> tuple[int, int]:
    row = connection.execute(query, values).fetchone()
    return (0, 0) if row is None else (row[0], row[1])


def _note(connection: Connection[Any], cache: str, entries: int, size: int) -> int:
    """Add to the size of the tail, and say what it is now."""
    row = connection.execute(_NOTE, (entries, size, cache)).fetchone()
    return int(row[0]) if row else 0
