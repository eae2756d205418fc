from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from understudy.errors import ConfigError
from understudy.store import Store, open_store
from understudy.store.database import HEAD
from understudy.store.schema import metadata

_OPEN = """
import sys
from understudy.store import open_store
open_store(sys.argv[1]).close()
print("alembic" in sys.modules)
"""


def differences(store: Store) -> list[object]:
    with store.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": False}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata))


def revision(store: Store) -> list[str]:
    with store.read() as tx:
        return list(tx.execute(sa.text("SELECT version_num FROM alembic_version")).scalars())


def test_upgrade_from_empty_makes_exactly_the_schema(empty_url: str) -> None:
    store = open_store(empty_url)
    assert differences(store) == []
    assert revision(store) == [HEAD]
    store.close()


def test_the_comparison_sees_a_difference(store: Store) -> None:
    # Otherwise an empty comparison above would say nothing.
    with store.write() as tx:
        tx.exec_driver_sql("ALTER TABLE jobs ADD COLUMN stray TEXT")
        tx.exec_driver_sql("DROP INDEX ix_operations_due_at")
    found = {str(one[0]) for one in differences(store) if isinstance(one, tuple)}
    assert found == {"remove_column", "add_index"}


def test_unique_keys_are_in_the_database(store: Store) -> None:
    inspector = sa.inspect(store.engine)
    for table in metadata.sorted_tables:
        wanted = {
            tuple(column.name for column in one.columns)
            for one in table.constraints
            if isinstance(one, sa.UniqueConstraint)
        }
        found = {tuple(one["column_names"]) for one in inspector.get_unique_constraints(table.name)}
        assert found == wanted, table.name
        key = inspector.get_pk_constraint(table.name)["constrained_columns"]
        assert key == [column.name for column in table.primary_key], table.name


def test_a_second_open_does_not_import_alembic(empty_url: str) -> None:
    said = [
        subprocess.run(
            [sys.executable, "-c", _OPEN, empty_url], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["True", "False"]


def test_processes_may_open_an_empty_store_at_once(empty_url: str) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", _OPEN, empty_url], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    outcomes = []
    for process in processes:
        process.communicate(timeout=60)
        outcomes.append(process.returncode)
    assert outcomes == [0, 0, 0]
    store = open_store(empty_url)
    assert differences(store) == []
    assert revision(store) == [HEAD]
    store.close()


def test_threads_may_open_an_empty_store_at_once(empty_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(open_store, [empty_url] * 4))
    assert [revision(store) for store in stores] == [[HEAD]] * 4
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://root:hunter2-secret@host/name",
        "postgresql://root:hunter2-secret@127.0.0.1:1/name",
        "sqlite:////proc/nowhere/hunter2.db",
        "not a url",
    ],
)
def test_a_store_that_cannot_be_opened_says_so_without_its_password(url: str) -> None:
    with pytest.raises((ConfigError, OSError)) as caught:
        open_store(url)
    assert "hunter2-secret" not in str(caught.value)
    assert "store" in str(caught.value) or isinstance(caught.value, OSError)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", r"nonsense is no database URL; write sqlite:///FILE or"),
        ("sqlite:///{file}/x/y.db", r"file/x: Not a directory; make its folder writable"),
    ],
)
def test_a_wrong_store_is_a_setting_with_its_fix(tmp_path: Path, url: str, words: str) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match=words):
        open_store(url.format(file=file))


def test_a_repr_hides_the_password() -> None:
    engine = sa.create_engine("postgresql+psycopg://me:hunter2-secret@host/name")
    assert "hunter2-secret" not in repr(Store(engine))
