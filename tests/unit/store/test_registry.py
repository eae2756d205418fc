from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from understudy.errors import ConfigError
from understudy.model import ModelRef
from understudy.store import Store, registry, schema


def ref(name: str = "ft:small:1") -> ModelRef:
    return ModelRef(backend="fake", id=name, base_model="small", owner="somebody")


def register(tx: sa.Connection, source: str, name: str = "triage", **more: Any) -> Any:
    values = {"ref": ref(), "lineage": {"job": source}, "at": 1.0} | more
    return registry.register(tx, name=name, source=source, **values)


def test_versions_count_up_by_name(store: Store) -> None:
    with store.write() as tx:
        made = [
            register(tx, "a"),
            register(tx, "b"),
            register(tx, "c", name="other"),
        ]
    assert [one.id for one in made] == ["triage@1", "triage@2", "other@1"]
    with store.read() as tx:
        assert [one.id for one in registry.list_models(tx, "triage")] == ["triage@1", "triage@2"]
        assert len(registry.list_models(tx)) == 3


def test_the_same_source_gives_the_same_version_unchanged(store: Store) -> None:
    with store.write() as tx:
        first = register(tx, "a")
        again = register(tx, "a", ref=ref("ft:small:2"), lineage={"job": "x"}, at=9.0)
    assert again == first
    with store.read() as tx:
        assert registry.get_model(tx, "triage@1") == first
    assert first.ref == ref()


def test_a_version_of_one_name_is_not_given_to_another(store: Store) -> None:
    with store.write() as tx:
        first = register(tx, "a")
        second = register(tx, "a", name="other")
    assert second == first


def test_concurrent_registers_get_distinct_versions(store: Store) -> None:
    def one(number: int) -> str:
        while True:
            try:
                with store.write() as tx:
                    return str(register(tx, f"source-{number}").id)
            except sa.exc.IntegrityError:
                continue  # as the worker does: the step is tried again

    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(one, range(12)))
    assert sorted(made) == sorted(f"triage@{number}" for number in range(1, 13))


def test_an_unknown_version_names_the_nearest(store: Store) -> None:
    with store.write() as tx:
        register(tx, "a")
    with store.read() as tx, pytest.raises(ConfigError, match=r"triage@1"):
        registry.get_model(tx, "triagee@1")


def test_evaluations_are_appended_and_the_newest_comes_first(store: Store) -> None:
    with store.write() as tx:
        version = register(tx, "a")
        for number, passed in enumerate((False, True)):
            registry.add_evaluation(
                tx,
                model_id=version.id,
                operation=f"op-{number}",
                dataset_id="ds-1",
                report={"score": number},
                passed=passed,
                reasons=(f"because {number}",),
                at=float(number),
            )
    with store.read() as tx:
        found = registry.history(tx, version.id)
    assert [(one["passed"], one["report"], one["reasons"]) for one in found] == [
        (True, {"score": 1}, ["because 1"]),
        (False, {"score": 0}, ["because 0"]),
    ]


def test_one_operation_evaluates_once(store: Store) -> None:
    with store.write() as tx:
        version = register(tx, "a")
        values: dict[str, Any] = {
            "model_id": version.id,
            "operation": "op",
            "dataset_id": "ds-1",
            "report": {},
            "passed": True,
            "reasons": (),
            "at": 1.0,
        }
        registry.add_evaluation(tx, **values)
    with pytest.raises(sa.exc.IntegrityError), store.write() as tx:
        registry.add_evaluation(tx, **values)
    with store.read() as tx:
        assert len(registry.history(tx, version.id)) == 1
        assert tx.execute(sa.select(sa.func.count()).select_from(schema.verdicts)).scalar() == 1
