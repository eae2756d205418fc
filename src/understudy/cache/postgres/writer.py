"""Filling a generation in PostgreSQL: COPY into a table of its own, sorted by key at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Connection, sql

from understudy.cache.base import Generation, GenerationState, Row
from understudy.cache.codec import Codec
from understudy.cache.options import CacheOptions
from understudy.cache.postgres.connections import Connections
from understudy.cache.postgres.records import Record, fetch, rows_table, staging_table
from understudy.cache.shared import StoreBase, WriterBase, require_base
from understudy.errors import StaleRecord

__all__ = ["PostgresWriter", "drop", "make_staging"]

_COPY = sql.SQL("COPY {} (key, value, carried) FROM STDIN (FORMAT binary)")
# What was put wins over what was carried, and of what was put the last.
_SEAL = sql.SQL(
    "CREATE TABLE {rows} AS SELECT DISTINCT ON (key) key, value FROM {staging} "
    "ORDER BY key, carried, place DESC"
)
_COUNT = sql.SQL("SELECT count(*), coalesce(sum(length(value)), 0)::bigint FROM {}")


def make_staging(connection: Connection[Any], number: int) -> None:
    """Make the table that takes a generation's rows."""
    connection.execute(
        sql.SQL(
            "CREATE TABLE {} (place bigserial, key bytea NOT NULL, value bytea NOT NULL, "
            "carried boolean NOT NULL)"
        ).format(staging_table(number))
    )


class PostgresWriter(WriterBase):
    """See ``GenerationWriter``. Made by ``PostgresCache.writer``."""

    def __init__(
        self,
        store: StoreBase,
        connections: Connections,
        record: Record,
        options: CacheOptions,
    ) -> None:
        super().__init__(options)
        self._cache = store
        self._connections = connections
        self._record = record

    @property
    def generation(self) -> Generation:
        """See ``GenerationWriter.generation``."""
        return self._record.generation

    def sources(self) -> frozenset[str]:
        """See ``GenerationWriter.sources``."""
        query = "SELECT source FROM understudy_cache.sources WHERE number = %s"
        with self._connections.reaching() as connection:
            rows = connection.execute(query, (self._record.number,)).fetchall()
        return frozenset(source for (source,) in rows)

    def count(self) -> int:
        """See ``GenerationWriter.count``."""
        with self._locked("shared") as connection:
            if self.generation.state is not GenerationState.WRITING:
                return self.generation.entries
            query = sql.SQL("SELECT count(DISTINCT key) FROM {}")
            row = connection.execute(query.format(staging_table(self._record.number))).fetchone()
            return int(row[0]) if row else 0

    def publish(self, *, force: bool = False) -> Generation:
        """See ``GenerationWriter.publish``."""
        # Two transactions: a switch that is refused leaves the sealed rows for the next try.
        with self._locked("alone") as connection:
            if self.generation.state is GenerationState.WRITING:
                self._seal(connection)
        with self._locked("alone") as connection:
            if self.generation.order is None:
                self._switch(connection, force=force)
        return self._refresh()

    def abandon(self) -> None:
        """See ``GenerationWriter.abandon``."""
        with self._locked("alone") as connection:
            if self.generation.order is not None:
                raise StaleRecord(
                    f"generation {self.generation.id!r} of cache {self.generation.cache!r} is "
                    "published; roll back and prune instead of abandoning it"
                )
            drop(connection, self._record.number)

    def close(self) -> None:
        """See ``GenerationWriter.close``. The connections are the store's."""

    def _store(self) -> StoreBase:
        return self._cache

    @contextmanager
    def _locked(self, lock: str) -> Iterator[Connection[Any]]:
        """A transaction that holds the generation's record, read anew."""
        mine = self.generation
        with self._connections.changing() as connection:
            found = fetch(connection, mine.cache, mine.id, lock=lock)
            if found is None:
                self._require_writing(None)
            else:
                self._record = found
            yield connection

    def _refresh(self) -> Generation:
        with self._locked("shared"):
            return self.generation

    def _codec(self) -> Codec | None:
        return self._record.codec

    def _decide(self, dictionary: bytes) -> Codec:
        mine = self.generation
        with self._connections.reaching() as connection:
            connection.execute(
                "UPDATE understudy_cache.generations SET dictionary = %s "
                "WHERE number = %s AND dictionary IS NULL",
                (dictionary, self._record.number),
            )
            found = fetch(connection, mine.cache, mine.id)
        return (found.codec if found else None) or Codec()

    def _write(self, rows: Iterable[Row], *, source: str | None, carried: bool) -> int:
        number = self._record.number
        with self._locked("shared") as connection:
            self._require_writing(self.generation.state)
            if source is not None:
                added = connection.execute(
                    "INSERT INTO understudy_cache.sources VALUES (%s, %s) ON CONFLICT DO NOTHING",
                    (number, source),
                )
                if added.rowcount == 0:
                    return 0
            written, size = self._copy(connection, rows, carried=carried)
            if not carried:
                self._note(connection, size)
        return written

    def _copy(
        self, connection: Connection[Any], rows: Iterable[Row], *, carried: bool
    ) -> tuple[int, int]:
        written = size = 0
        copying = _COPY.format(staging_table(self._record.number))
        with connection.cursor() as cursor, cursor.copy(copying) as copy:
            copy.set_types(["bytea", "bytea", "bool"])
            for key, value in rows:
                copy.write_row((key, value, carried))
                written += 1
                size += len(value)
        return written, size

    def _note(self, connection: Connection[Any], size: int) -> None:
        """Add to what is staged. A row for each call, so that no two calls wait for each other."""
        if over := self._over(size + _staged(connection, self._record.number)):
            raise over
        connection.execute(
            "INSERT INTO understudy_cache.staged VALUES (%s, %s)", (self._record.number, size)
        )

    def _seal(self, connection: Connection[Any]) -> None:
        number = self._record.number
        rows, staging = rows_table(number), staging_table(number)
        connection.execute(_SEAL.format(rows=rows, staging=staging))
        connection.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (key)").format(rows))
        counted = connection.execute(_COUNT.format(rows)).fetchone()
        entries, size = counted or (0, 0)
        connection.execute(
            "UPDATE understudy_cache.generations SET state = %s, entries = %s, bytes = %s "
            "WHERE number = %s",
            (GenerationState.READY, entries, size, number),
        )
        connection.execute(sql.SQL("DROP TABLE {}").format(staging))

    def _switch(self, connection: Connection[Any], *, force: bool) -> None:
        mine = self.generation
        row = connection.execute(
            "SELECT current FROM understudy_cache.caches WHERE name = %s FOR UPDATE", (mine.cache,)
        ).fetchone()
        if not force:
            require_base(mine, row[0] if row else None)
        connection.execute(
            "UPDATE understudy_cache.generations SET published_at = %s, published = 1 + (SELECT "
            "coalesce(max(published), 0) FROM understudy_cache.generations WHERE cache = %s) "
            "WHERE number = %s",
            (self._options.clock.now(), mine.cache, self._record.number),
        )
        connection.execute(
            "UPDATE understudy_cache.caches SET current = %s WHERE name = %s",
            (mine.id, mine.cache),
        )


def _staged(connection: Connection[Any], number: int) -> int:
    row = connection.execute(
        "SELECT coalesce(sum(bytes), 0)::bigint FROM understudy_cache.staged WHERE number = %s",
        (number,),
    ).fetchone()
    return int(row[0]) if row else 0


def drop(connection: Connection[Any], number: int) -> None:
    """Delete a generation and its tables."""
    for name in ("sources", "staged", "generations"):
        table = sql.Identifier("understudy_cache", name)
        connection.execute(sql.SQL("DELETE FROM {} WHERE number = %s").format(table), (number,))
    for table in (rows_table(number), staging_table(number)):
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
