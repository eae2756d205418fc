"""Connections to PostgreSQL, one a thread, and its errors in words."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from understudy.errors import AuthError, ConfigError, Unavailable

__all__ = ["Connections"]

Connection = psycopg.Connection[Any]

_SCHEMA = """
CREATE SCHEMA IF NOT EXISTS understudy_cache;
CREATE TABLE IF NOT EXISTS understudy_cache.caches (
    name text PRIMARY KEY, current text,
    tail_entries bigint NOT NULL DEFAULT 0, tail_bytes bigint NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS understudy_cache.generations (
    number bigserial PRIMARY KEY, cache text NOT NULL, id text NOT NULL, model text NOT NULL,
    state text NOT NULL, created_at float8 NOT NULL, published_at float8, published bigint,
    ttl float8, entries bigint NOT NULL DEFAULT 0, bytes bigint NOT NULL DEFAULT 0,
    base text, dictionary bytea, meta jsonb NOT NULL,
    UNIQUE (cache, id)
);
CREATE TABLE IF NOT EXISTS understudy_cache.sources (
    number bigint NOT NULL, source text NOT NULL, PRIMARY KEY (number, source)
);
CREATE TABLE IF NOT EXISTS understudy_cache.staged (number bigint NOT NULL, bytes bigint NOT NULL);
CREATE INDEX IF NOT EXISTS staged_by_number ON understudy_cache.staged (number);
CREATE TABLE IF NOT EXISTS understudy_cache.tail (
    place bigserial NOT NULL, cache text NOT NULL, key bytea NOT NULL, value bytea NOT NULL,
    expires_at float8, carried boolean NOT NULL, PRIMARY KEY (cache, key)
);
CREATE INDEX IF NOT EXISTS tail_by_age ON understudy_cache.tail (cache, place);
CREATE TABLE IF NOT EXISTS understudy_cache.counts (
    cache text NOT NULL, name text NOT NULL, value bigint NOT NULL, PRIMARY KEY (cache, name)
);
"""
_LOCK = 0x75635F736368  # any number of our own: two that begin at once make the tables in turn


class _Owned:
    """A thread's connection, closed when the thread has ended."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __del__(self) -> None:
        with suppress(psycopg.Error):
            self.connection.close()


class Connections:
    """Gives each thread a connection of its own and makes the tables at the first.

    Args:
        url: where PostgreSQL is.
        shown: the same without password.
    """

    def __init__(self, url: str, shown: str) -> None:
        self.shown = shown
        self._url = url
        self._thread = threading.local()
        self._open: weakref.WeakSet[_Owned] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._made = False

    def mine(self) -> Connection:
        """This thread's connection, each statement a transaction of its own.

        Raises:
            AuthError, ConfigError, Unavailable: why there is none.
        """
        found: _Owned | None = getattr(self._thread, "owned", None)
        if found is None or found.connection.closed:
            found = self._thread.owned = _Owned(self._connect())
            with self._lock:
                self._open.add(found)
        return found.connection

    @contextmanager
    def reaching(self) -> Iterator[Connection]:
        """This thread's connection; trouble with it in words.

        Raises:
            Unavailable: PostgreSQL cannot be reached or refused.
        """
        try:
            yield self.mine()
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise Unavailable(
                f"the cache at {self.shown} cannot be reached ({type(error).__name__}); check "
                "that PostgreSQL runs there, and try again"
            ) from None

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """A transaction. Raises as ``reaching``."""
        with self.reaching() as connection, connection.transaction():
            yield connection

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            opened, self._open = list(self._open), weakref.WeakSet()
        self._thread = threading.local()
        for owned in opened:
            owned.connection.close()

    def _connect(self) -> Connection:
        try:
            made = psycopg.connect(self._url, autocommit=True, connect_timeout=5)
        except psycopg.OperationalError as error:
            if "authentication" in str(error):
                raise AuthError(
                    f"the cache at {self.shown} refused the user or password; check its URL"
                ) from None
            raise
        except psycopg.ProgrammingError:
            raise ConfigError(
                f"{self.shown}: this is no URL of a PostgreSQL; write "
                "postgresql://user@host/database"
            ) from None
        with self._lock:
            if not self._made:
                with made.transaction():
                    made.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                    # CREATE ... IF NOT EXISTS says each time that it had nothing to do.
                    made.execute("SET LOCAL client_min_messages = warning")
                    made.execute(_SCHEMA)
                self._made = True
        return made
