"""The store on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from psycopg import Connection, errors, sql
from psycopg.types.json import Jsonb

from understudy.cache.base import (
    CacheStats,
    CacheView,
    Generation,
    GenerationState,
    GenerationSwitched,
    Row,
    TailRow,
    check_name,
)
from understudy.cache.codec import Codec
from understudy.cache.options import CacheOptions
from understudy.cache.postgres.connections import Connections
from understudy.cache.postgres.records import Record, current, fetch, listed, rows_table
from understudy.cache.postgres.tail import Tail
from understudy.cache.postgres.writer import PostgresWriter, drop, make_staging
from understudy.cache.shared import (
    NO_GENERATION,
    StoreBase,
    find_generation,
    pick_previous,
    pick_pruned,
    require_model,
)
from understudy.config import shown_url
from understudy.model import Json

__all__ = ["PostgresCache", "open_postgres"]

_AT_ONCE = 1_000


def open_postgres(url: str, options: CacheOptions) -> PostgresCache:
    """The store behind ``postgresql://``."""
    return PostgresCache(Connections(url, shown_url(url)), options)


class _Pinned:
    """A view: reads one generation, as long as it is the current one."""

    def __init__(self, store: PostgresCache, record: Record) -> None:
        self.generation: Generation | None = record.generation
        self._id = record.generation.id
        self._cache = record.generation.cache
        self._store = store
        self._unpack = (record.codec or Codec()).unpack
        pointer = sql.SQL("SELECT current FROM understudy_cache.caches WHERE name = %s")
        # One statement is one snapshot: the pointer and the value belong together.
        rows = rows_table(record.number)
        self._one = sql.SQL("SELECT ({}), (SELECT value FROM {} WHERE key = %s)").format(
            pointer, rows
        )
        self._many = sql.SQL(
            "SELECT ({}), key, value FROM {} WHERE key = ANY(%s::bytea[]) "
            "UNION ALL SELECT ({}), NULL, NULL"
        ).format(pointer, rows, pointer)

    def get(self, key: bytes) -> bytes | None:
        """See ``CacheView.get``."""
        ((pointer, value),) = self._read(self._one, (self._cache, key))
        self._require(pointer)
        return None if value is None else self._unpack(value)

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See ``CacheView.get_many``."""
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _AT_ONCE):
            part = list(keys[start : start + _AT_ONCE])
            for pointer, key, value in self._read(self._many, (self._cache, part, self._cache)):
                self._require(pointer)
                if key is not None:
                    found[key] = self._unpack(value)
        return found

    def _read(self, query: sql.Composed, values: Sequence[Any]) -> list[Any]:
        with self._store.connections.reaching() as connection:
            try:
                return connection.execute(query, values, binary=True).fetchall()
            except errors.UndefinedTable:
                self._require(None)
                raise

    def _require(self, pointer: str | None) -> None:
        if pointer != self._id:
            self._store.forget(self._cache)
            raise GenerationSwitched


class PostgresCache(StoreBase):
    """See ``CacheStore``.

    Args:
        connections: to PostgreSQL.
        options: clock, compression and limits.
    """

    def __init__(self, connections: Connections, options: CacheOptions) -> None:
        self.options = options
        self.connections = connections
        self._views: dict[str, _Pinned] = {}
        self._live = Tail(connections)

    @property
    def shown(self) -> str:
        """See ``CacheStore.shown``."""
        return self.connections.shown

    def caches(self) -> Sequence[str]:
        """See ``CacheStore.caches``."""
        with self.connections.reaching() as connection:
            rows = connection.execute("SELECT name FROM understudy_cache.caches").fetchall()
        return sorted(name for (name,) in rows)

    def view(self, cache: str) -> CacheView:
        """See ``CacheStore.view``."""
        view = self._views.get(cache) or self._look(cache)
        if view is None or view.generation is None:
            return NO_GENERATION
        expires_at = view.generation.expires_at
        if expires_at is not None and self.options.clock.now() >= expires_at:
            # Nothing is read from it, so nothing would notice that another one counts by now.
            self.forget(cache)
            return NO_GENERATION
        return view

    def forget(self, cache: str) -> None:
        """Look for the current generation at the next read."""
        self._views.pop(cache, None)

    def _look(self, cache: str) -> _Pinned | None:
        with self.connections.reaching() as connection:
            found = current(connection, cache)
        if found is None:
            return None
        made = self._views[cache] = _Pinned(self, found)
        return made

    def tail_values(
        self, cache: str, keys: Sequence[bytes], *, refusals: bool
    ) -> Mapping[bytes, bytes]:
        """See ``StoreBase.tail_values``."""
        return self._live.values(cache, keys, self.options.clock.now(), refusals=refusals)

    def put_tail(self, cache: str, rows: Sequence[TailRow]) -> None:
        """See ``CacheStore.put_tail``."""
        with self.connections.changing() as connection:
            _enter(connection, cache)
            _lock(connection, cache)
            self._live.put(connection, cache, rows, limit=self.options.max_tail_bytes)

    def writer(
        self,
        cache: str,
        generation: str,
        *,
        model: str,
        ttl: float | None = None,
        meta: Mapping[str, Json] | None = None,
    ) -> PostgresWriter:
        """See ``CacheStore.writer``."""
        check_name(generation, "generation")
        with self.connections.changing() as connection:
            _enter(connection, cache)
            made = connection.execute(
                "INSERT INTO understudy_cache.generations "
                "(cache, id, model, state, created_at, ttl, meta, base) VALUES "
                "(%s, %s, %s, %s, %s, %s, %s, "
                "(SELECT current FROM understudy_cache.caches WHERE name = %s)) "
                "ON CONFLICT (cache, id) DO NOTHING RETURNING number",
                (
                    *(cache, generation, model, GenerationState.WRITING),
                    *(self.options.clock.now(), ttl, Jsonb(dict(meta or {})), cache),
                ),
            ).fetchone()
            if made is not None:
                make_staging(connection, made[0])
            found = fetch(connection, cache, generation)
        assert found is not None
        require_model(found.generation, model)
        return PostgresWriter(self, self.connections, found, self.options)

    def generations(self, cache: str) -> Sequence[Generation]:
        """See ``CacheStore.generations``."""
        with self.connections.reaching() as connection:
            return [r.generation for r in listed(connection, check_name(cache, "cache"))]

    def scan(self, cache: str, generation: str | None = None) -> Iterator[Row]:
        """See ``CacheStore.scan``. In the order of the keys."""
        chosen = find_generation(cache, self.generations(cache), generation)
        with self.connections.reaching() as connection:
            record = fetch(connection, cache, chosen.id)
        assert record is not None
        unpack = (record.codec or Codec()).unpack
        query = sql.SQL("SELECT key, value FROM {} WHERE key > %s ORDER BY key LIMIT %s").format(
            rows_table(record.number)
        )
        last = b""
        while True:
            # In short reads: the connection is free for others between two of them.
            with self.connections.reaching() as connection:
                rows = connection.execute(query, (last, _AT_ONCE), binary=True).fetchall()
            if not rows:
                return
            for key, value in rows:
                yield key, unpack(value)
            last = rows[-1][0]

    def scan_tail(self, cache: str) -> Iterator[TailRow]:
        """See ``CacheStore.scan_tail``."""
        return self._live.scan(cache, self.options.clock.now())

    def rollback(self, cache: str, to: str | None = None) -> Generation:
        """See ``CacheStore.rollback``."""
        with self.connections.changing() as connection:
            _lock(connection, cache)
            found = [record.generation for record in listed(connection, cache)]
            chosen = pick_previous(cache, found, to)
            connection.execute(
                "UPDATE understudy_cache.caches SET current = %s WHERE name = %s",
                (chosen.id, cache),
            )
            record = fetch(connection, cache, chosen.id)
        return record.generation if record else chosen

    def prune(self, cache: str, *, keep: int = 2) -> Sequence[Generation]:
        """See ``CacheStore.prune``."""
        with self.connections.changing() as connection:
            _lock(connection, cache)
            numbers = {r.generation.id: r.number for r in listed(connection, cache)}
            kept, gone = pick_pruned(
                [record.generation for record in listed(connection, cache)], keep
            )
            for generation in gone:
                drop(connection, numbers[generation.id])
        useless = self.useless_tail(cache, kept)
        with self.connections.changing() as connection:
            _lock(connection, cache)
            self._live.remove(connection, cache, useless, self.options.clock.now())
        return gone

    def add_counts(self, cache: str, counts: Mapping[str, int]) -> None:
        """See ``CacheStore.add_counts``."""
        with self.connections.changing() as connection:
            _enter(connection, cache)
            for name, value in sorted(counts.items()):  # sorted: two callers do not deadlock
                connection.execute(
                    "INSERT INTO understudy_cache.counts VALUES (%s, %s, %s) "
                    "ON CONFLICT (cache, name) DO UPDATE SET value = counts.value + excluded.value",
                    (cache, name, value),
                )

    def stats(self, cache: str) -> CacheStats:
        """See ``CacheStore.stats``."""
        with self.connections.reaching() as connection:
            records = listed(connection, cache)
            sizes = [_table_size(connection, record.number) for record in records]
            counts = dict(
                connection.execute(
                    "SELECT name, value FROM understudy_cache.counts WHERE cache = %s", (cache,)
                ).fetchall()
            )
        found = [record.generation for record in records]
        entries, size = self._live.size(cache)
        return CacheStats(
            cache=cache,
            store=self.shown,
            current=next((g for g in found if g.current), None),
            generations=len(found),
            tail_entries=entries,
            tail_bytes=size,
            disk_bytes=sum(sizes),
            counts=counts,
        )

    def values_in(
        self, cache: str, generation: Generation, keys: Sequence[bytes]
    ) -> Mapping[bytes, bytes]:
        """See ``StoreBase.values_in``."""
        with self.connections.reaching() as connection:
            record = fetch(connection, cache, generation.id)
            if record is None:
                return {}
            query = sql.SQL("SELECT key, value FROM {} WHERE key = ANY(%s::bytea[])")
            rows = []
            with suppress(errors.UndefinedTable):
                found = connection.execute(
                    query.format(rows_table(record.number)), (list(keys),), binary=True
                )
                rows = found.fetchall()
        unpack = (record.codec or Codec()).unpack
        return {key: unpack(value) for key, value in rows}

    def close(self) -> None:
        """Give connections back."""
        self.connections.close()


def _enter(connection: Connection[Any], cache: str) -> None:
    connection.execute(
        "INSERT INTO understudy_cache.caches (name) VALUES (%s) ON CONFLICT DO NOTHING",
        (check_name(cache, "cache"),),
    )


def _lock(connection: Connection[Any], cache: str) -> None:
    """Keep everybody else from changing the pointer and the tail until the transaction ends."""
    connection.execute("SELECT 1 FROM understudy_cache.caches WHERE name = %s FOR UPDATE", (cache,))


def _table_size(connection: Connection[Any], number: int) -> int:
    row = connection.execute(
        "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'understudy_cache' AND c.relname IN (%s, %s)",
        (f"g_{number}", f"s_{number}"),
    ).fetchone()
    return int(row[0]) if row else 0
