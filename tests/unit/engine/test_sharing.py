"""Equal runs share a job, equal trainings a model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from engine_kit import World

from understudy.errors import ConfigError
from understudy.store import registry, schema


def test_equal_runs_share_a_job(world: World) -> None:
    first = world.submit(run_key="run")
    assert world.submit(run_key="run") == first
    world.run_to(first)
    assert world.submit(run_key="run") == first
    assert len(world.provider.jobs) == 1


def test_equal_runs_submitted_at_once_share_a_job(world: World) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: world.submit(run_key="run"), range(8)))
    assert len(set(found)) == 1
    assert [row["id"] for row in world.rows(schema.jobs)] == [found[0]]
    assert len(world.rows(schema.operations)) == 1


def test_the_same_training_is_not_started_twice_at_once(world: World) -> None:
    def submit(number: int) -> str | None:
        try:
            return world.submit(run_key=f"run-{number}", train_key="same")
        except ConfigError:
            return None

    with ThreadPoolExecutor(4) as pool:
        found = [job for job in pool.map(submit, range(8)) if job is not None]
    assert len(found) == 1


def test_an_earlier_training_is_taken_over(world: World) -> None:
    first = world.submit(train_key="same", evaluation={"bar": 0.1})
    world.run_to(first)
    before = world.spent()
    second = world.submit(train_key="same", evaluation={"bar": 1.0, "max_rows": 6})
    assert world.run_to(second) == "rejected"
    assert len(world.provider.jobs) == 1
    assert world.job(second).model_id == world.job(first).model_id == "triage@1"
    lines = [row for row in world.rows(schema.ledger) if row["job_id"] == second]
    assert {row["kind"] for row in lines} == {"evaluate"}
    # Four of the six answers are known from the first evaluation.
    assert len(world.provider.asked) == 6
    assert world.spent() - before > 0
    assert world.spent() == world.provider.bill_nanos
    with world.store.read() as tx:
        assert len(registry.history(tx, "triage@1")) == 2
    assert f"{first} trained the same thing already" in world.history(second)[0].cause


def test_a_training_taken_over_is_taken_over_again(world: World) -> None:
    found = [world.submit(train_key="same", evaluation={"bar": 0.1})]
    world.run_to(found[0])
    for number in (0.2, 0.3):
        found.append(world.submit(train_key="same", evaluation={"bar": number}))
        world.run_to(found[-1])
    assert [world.state(job) for job in found] == ["ready"] * 3
    assert len(world.provider.jobs) == 1
    assert len(world.rows(schema.models)) == 1


def test_a_training_under_way_is_named_instead_of_repeated(world: World) -> None:
    first = world.submit(train_key="same")
    world.drain()
    with pytest.raises(ConfigError, match=first):
        world.submit(train_key="same")
    assert len(world.rows(schema.jobs)) == 1


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_training_that_came_to_nothing_is_done_again(world: World, end: str) -> None:
    first = world.submit(train_key="same")
    world.drain()
    world.provider.force(world.remote(first), end)
    world.run_to(first)
    second = world.submit(train_key="same")
    assert world.run_to(second) == "ready"
    assert len(world.provider.jobs) == 2
