from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from understudy.store import Store
from understudy.store.schema import budgets


def spent(tx: sa.Connection, name: str = "b") -> int | None:
    return tx.execute(sa.select(budgets.c.spent_nanos).where(budgets.c.name == name)).scalar()


def add(tx: sa.Connection, name: str = "b") -> None:
    tx.execute(sa.insert(budgets).values(name=name, limit_nanos=100))


def test_a_write_is_there_after_it_ends(store: Store) -> None:
    with store.write() as tx:
        add(tx)
    with store.read() as tx:
        assert spent(tx) == 0


def test_an_exception_leaves_nothing(store: Store) -> None:
    def half() -> None:
        with store.write() as tx:
            add(tx)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        half()
    with store.read() as tx:
        assert spent(tx) is None


def test_a_reader_does_not_wait_for_a_writer_and_sees_none_of_its_work(store: Store) -> None:
    with store.write() as writing:
        add(writing)
        with store.read() as reading:
            assert spent(reading) is None
    with store.read() as tx:
        assert spent(tx) == 0


def test_increments_of_many_threads_are_all_there(store: Store) -> None:
    with store.write() as tx:
        add(tx)

    def bump() -> None:
        for _ in range(10):
            with store.write() as tx:
                row = tx.execute(
                    sa.select(budgets).where(budgets.c.name == "b").with_for_update()
                ).one()
                tx.execute(sa.update(budgets).values(spent_nanos=row.spent_nanos + 1))

    threads = [threading.Thread(target=bump) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as tx:
        assert spent(tx) == 40


def test_an_error_of_the_database_does_not_repeat_the_values(store: Store) -> None:
    with store.write() as tx:
        add(tx)
    with pytest.raises(sa.exc.IntegrityError) as caught, store.write() as tx:
        tx.execute(sa.insert(budgets).values(name="b", limit_nanos=987654321))
    assert "987654321" not in str(caught.value)
    assert "SQL parameters hidden" in str(caught.value)


def test_integers_keep_64_bits(store: Store) -> None:
    big = (1 << 63) - 1
    with store.write() as tx:
        tx.execute(sa.insert(budgets).values(name="b", limit_nanos=big))
    with store.read() as tx:
        assert tx.execute(sa.select(budgets.c.limit_nanos)).scalar_one() == big
