"""Opening the store, transactions, and bringing its schema up to date."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError

from understudy.config import shown_url
from understudy.errors import ConfigError
from understudy.secrets import redact

__all__ = ["HEAD", "Store", "open_store"]

HEAD = "0002"
"""The newest migration; when the database has it, Alembic need not be imported."""

_LOCK = 0x756E6465727374
"""PostgreSQL advisory lock that serialises migrations of many workers starting at once."""

_POSTGRES_OPTIONS = "-c idle_in_transaction_session_timeout=10s"
"""A worker frozen in the middle of a transaction must not keep its rows locked for the others.

No transaction here waits for anything but the database, so ten seconds are ample.
"""


class Store:
    """A database with the schema of ``schema.py``.

    ``write`` and ``read`` are transactions; both give an SQLAlchemy connection. On SQLite a
    write takes the write lock at once, so that what it reads stays true until it commits.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.postgres = engine.dialect.name == "postgresql"

    def __repr__(self) -> str:
        return f"Store({self.engine.url.render_as_string(hide_password=True)})"

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A read-write transaction; commits at the end, rolls back on any exception."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads and never waits for a writer."""
        with self.engine.connect() as raw:
            connection = raw.execution_options(understudy_read=True)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_store(url: str) -> Store:
    """Open (and create or migrate) the store at ``url``.

    Args:
        url: ``sqlite:///path`` or ``postgresql://user:password@host/name``.

    Raises:
        ConfigError: the URL is wrong, the driver is missing, or the server does not answer. The
            message never holds the password.
    """
    shown = shown_url(url)
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql":
            engine = sa.create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_pre_ping=True,
                pool_size=10,
                hide_parameters=True,
                connect_args={"options": _POSTGRES_OPTIONS},
            )
        elif parsed.get_backend_name() == "sqlite":
            engine = _sqlite(parsed)
        else:
            raise ConfigError(f"store {shown}: use sqlite:///FILE or postgresql://...")
        store = Store(engine)
        _migrate(store)
    except ArgumentError:
        raise ConfigError(
            f"store {shown} is no database URL; write sqlite:///FILE or "
            "postgresql://HOST/NAME, with user and password before the host"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"store {shown} cannot be opened: {error.filename}: {error.strerror}; make its folder "
            "writable, or name another one in [store] url or UNDERSTUDY_STORE"
        ) from None
    except ModuleNotFoundError as error:
        raise ConfigError(f"store {shown}: {error}; pip install 'understudy[postgres]'") from None
    except (NoSuchModuleError, OperationalError) as error:
        reason = redact(str(getattr(error, "orig", None) or error)).splitlines()[0]
        raise ConfigError(f"store {shown} cannot be opened: {reason}") from None
    except SQLAlchemyError as error:
        raise ConfigError(f"store {shown}: {redact(str(error)).splitlines()[0]}") from None
    return store


def _sqlite(url: sa.URL) -> sa.Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    # Values that a statement carried must not get into messages: answers are among them.
    engine = sa.create_engine(url, connect_args={"timeout": 60.0}, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def _on_connect(dbapi: Any, _record: Any) -> None:
        # The driver's own implicit BEGIN comes too late: reads before the first write would see
        # a state that somebody else may change. See _on_begin.
        dbapi.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            _set(dbapi, pragma)

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get("understudy_read")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _set(dbapi: Any, pragma: str) -> None:
    """Set a pragma; while others open or close the file, the driver's timeout does not hold."""
    for left in reversed(range(600)):
        try:
            dbapi.execute(f"PRAGMA {pragma}")
        except sqlite3.OperationalError as error:
            if not left or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(0.1)
        else:
            return


def _migrate(store: Store) -> None:
    if _version(store) == HEAD:
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "understudy.store:migrations")
    with store.write() as connection:
        if store.postgres:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _version(store: Store) -> str | None:
    table = sa.table("alembic_version", sa.column("version_num", sa.Text))
    with store.read() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.select(table.c.version_num)).scalar()
