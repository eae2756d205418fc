from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from understudy.errors import ConfigError, StaleRecord
from understudy.model import ModelRef
from understudy.store import Store, registry

REF = ModelRef(backend="fake", id="ft:small:1", base_model="small")


def add(store: Store, number: int, *, passed: bool | None = True) -> str:
    """A model version with a verdict, or without one."""
    with store.write() as tx:
        version = registry.register(
            tx, name="triage", ref=REF, source=f"s{number}", lineage={}, at=float(number)
        )
        if passed is not None:
            registry.add_evaluation(
                tx,
                model_id=version.id,
                operation=f"op{number}",
                dataset_id="ds",
                report={},
                passed=passed,
                reasons=(),
                at=float(number),
            )
    return version.id


def move(store: Store, model_id: str, *, force: bool = False, at: float = 5.0) -> None:
    with store.write() as tx:
        registry.move_alias(tx, alias="live", model_id=model_id, cause="test", at=at, force=force)


def back(store: Store) -> None:
    with store.write() as tx:
        registry.rollback_alias(tx, alias="live", at=9.0)


def target(store: Store) -> str | None:
    with store.read() as tx:
        return registry.alias_target(tx, "live")


def test_every_move_is_kept(store: Store) -> None:
    one, two = add(store, 1), add(store, 2)
    move(store, one, at=5.0)
    move(store, two, at=6.0)
    with store.read() as tx:
        moves = registry.alias_moves(tx, "live")
        assert registry.aliases(tx) == [("live", two)]
        assert registry.get_model(tx, "live").id == two
    assert [(m.from_model, m.to_model, m.forced, m.at) for m in moves] == [
        (one, two, False, 6.0),
        (None, one, False, 5.0),
    ]


@pytest.mark.parametrize(
    ("passed", "words"), [(False, "failed its evaluation"), (None, "has not been evaluated")]
)
def test_it_moves_only_to_a_passing_verdict(store: Store, passed: bool | None, words: str) -> None:
    version = add(store, 1, passed=passed)
    with pytest.raises(ConfigError, match=words):
        move(store, version)
    assert target(store) is None
    move(store, version, force=True)
    assert target(store) == version
    with store.read() as tx:
        assert [one.forced for one in registry.alias_moves(tx, "live")] == [True]


def test_the_newest_verdict_counts(store: Store) -> None:
    version = add(store, 1, passed=True)
    with store.write() as tx:
        registry.add_evaluation(
            tx,
            model_id=version,
            operation="later",
            dataset_id="ds",
            report={},
            passed=False,
            reasons=(),
            at=9.0,
        )
    with pytest.raises(ConfigError, match="failed its evaluation"):
        move(store, version)


def test_force_with_a_passing_verdict_is_not_recorded_as_forced(store: Store) -> None:
    move(store, add(store, 1), force=True)
    with store.read() as tx:
        assert [one.forced for one in registry.alias_moves(tx, "live")] == [False]


def test_rolling_back_twice_goes_back_two_versions(store: Store) -> None:
    versions = [add(store, number) for number in range(3)]
    for version in versions:
        move(store, version)
    back(store)
    assert target(store) == versions[1]
    back(store)
    assert target(store) == versions[0]
    with pytest.raises(ConfigError, match="no earlier version"):
        back(store)
    with store.read() as tx:
        assert len(registry.alias_moves(tx, "live")) == 5


def test_a_move_after_a_rollback_can_be_rolled_back(store: Store) -> None:
    versions = [add(store, number) for number in range(3)]
    move(store, versions[0])
    move(store, versions[1])
    back(store)
    move(store, versions[2])
    back(store)
    assert target(store) == versions[0]


def test_rollback_skips_a_move_to_where_it_was(store: Store) -> None:
    one, two = add(store, 1), add(store, 2)
    for version in (one, two, two):
        move(store, version)
    back(store)
    assert target(store) == one


def test_rollback_returns_to_a_version_whose_verdict_has_turned(store: Store) -> None:
    one, two = add(store, 1), add(store, 2)
    move(store, one)
    move(store, two)
    with store.write() as tx:
        registry.add_evaluation(
            tx,
            model_id=one,
            operation="later",
            dataset_id="ds",
            report={},
            passed=False,
            reasons=(),
            at=9.0,
        )
    back(store)
    assert target(store) == one


def test_an_unknown_alias_or_version_is_named(store: Store) -> None:
    move(store, add(store, 1))
    with pytest.raises(ConfigError, match="live"), store.write() as tx:
        registry.rollback_alias(tx, alias="liv", at=1.0)
    with pytest.raises(ConfigError, match="triage@1"):
        move(store, "triage@7")


@contextmanager
def paused_before_write(store: Store, reached: threading.Event) -> Iterator[None]:
    """Sets ``reached`` when another thread has read the alias and is about to write it."""
    here = threading.get_ident()

    def look(_c: object, _cursor: object, statement: str, *_: object) -> None:
        wait = statement.startswith("BEGIN IMMEDIATE")
        writes = statement.startswith(("UPDATE aliases", "INSERT INTO aliases"))
        if threading.get_ident() != here and (wait or writes):
            reached.set()

    sa.event.listen(store.engine, "before_cursor_execute", look)
    yield
    sa.event.remove(store.engine, "before_cursor_execute", look)


@pytest.mark.parametrize("exists", [True, False])
def test_concurrent_moves_never_overwrite_each_other(store: Store, exists: bool) -> None:
    versions = [add(store, number) for number in range(3)]
    if exists:
        move(store, versions[0])
    errors: list[Exception] = []
    reached = threading.Event()

    def other() -> None:
        try:
            move(store, versions[2])
        except StaleRecord as error:
            errors.append(error)

    thread = threading.Thread(target=other)
    with paused_before_write(store, reached):
        with store.write() as tx:
            registry.move_alias(tx, alias="live", model_id=versions[1], cause="test", at=5.0)
            thread.start()
            assert reached.wait(10)
        thread.join(10)
    assert not thread.is_alive()
    with store.read() as tx:
        moves = registry.alias_moves(tx, "live")[::-1]
    # SQLite lets the second writer read only after the first has committed.
    assert len(errors) == (1 if store.postgres else 0)
    assert target(store) == (versions[1] if store.postgres else versions[2])
    froms = [one.from_model for one in moves]
    assert froms == [None, *(one.to_model for one in moves[:-1])]
