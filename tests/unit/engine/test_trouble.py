"""Trouble that passes, trouble that does not, and money that is used up."""

from __future__ import annotations

import pytest
from engine_kit import World

from understudy.engine import commands
from understudy.errors import BudgetExceeded, DataError
from understudy.store import schema
from understudy.testing.fakes import FakeConnectionError, FakeHTTPError


@pytest.mark.parametrize("asked", [5.0, 600.0])
@pytest.mark.parametrize("stage", ["upload", "create", "poll", "evaluate"])
def test_retry_after_is_obeyed(world: World, stage: str, asked: float) -> None:
    job = world.submit(alias=None)
    error = FakeHTTPError(429, "slow down", retry_after=asked)
    if stage == "create":
        world.provider.fail(error, creates_only=True)
    elif stage == "upload":
        world.provider.fail(error)
    elif stage == "poll":
        world.run_to(job, "running")
        world.provider.fail(error)
        world.step_to_next()
    else:
        chat, sent = world.provider.chat, []

        def limited(api_key: str, body: dict[str, object]) -> dict[str, object]:
            if not sent:
                sent.append(1)
                raise error
            return chat(api_key, body)

        world.provider.chat = limited  # type: ignore[method-assign,assignment]
        world.run_to(job, "registering")
    world.drain()
    before = world.provider.requests
    assert before > 0
    world.clock.advance(asked - 0.01)
    world.drain()
    assert world.provider.requests == before
    world.clock.advance(0.02)
    world.drain()
    assert world.provider.requests > before
    assert world.run_to(job) == "ready"
    assert len(world.provider.jobs) == 1


def test_trouble_while_polling_backs_off_and_never_fails_the_job(world: World) -> None:
    world.provider.script = ((0, "running"), (2000, "succeeded"))
    job = world.submit(alias=None)
    world.run_to(job, "running")
    for number in range(6):
        error = FakeHTTPError(503, "away") if number % 2 else FakeConnectionError("cut")
        world.provider.fail(error)
        assert world.step_to_next()
        assert world.state(job) == "running"
    assert world.op(job).failures == 6
    assert world.op(job).due_at is not None
    assert world.op(job).due_at > world.clock.now()
    world.step_to_next()
    assert world.op(job).failures == 0
    assert world.run_to(job) == "ready"


def test_an_expired_key_while_polling_asks_a_person_and_retry_goes_on(world: World) -> None:
    job = world.submit()
    world.run_to(job, "running")
    world.provider.secret = "sk-the-new-key-0000000000"
    assert world.run_to(job) == "needs_attention"
    record = world.job(job)
    assert record.stage is not None
    assert record.stage.value == "running"
    assert "key was refused" in str(record.problem)
    assert not world.step_to_next()
    world.provider.secret = "sk-fake-0123456789abcdef"
    assert commands.retry(world.engine, job).value == "running"
    assert world.run_to(job) == "ready"
    assert len(world.provider.jobs) == 1


@pytest.mark.parametrize("stage", ["uploading", "submitting"])
def test_an_expired_key_before_the_create_goes_on_at_the_same_stage(
    world: World, stage: str
) -> None:
    job = world.submit()
    error = FakeHTTPError(401, "no")
    world.provider.fail(error, creates_only=stage == "submitting")
    assert world.run_to(job) == "needs_attention"
    record = world.job(job)
    assert record.stage is not None
    assert record.stage.value == stage
    commands.retry(world.engine, job)
    assert world.run_to(job) == "ready"
    assert len(world.provider.jobs) == 1


def test_an_account_that_may_not_train_fails_with_the_reason_and_without_cost(
    world: World,
) -> None:
    job = world.submit()
    world.provider.fail(FakeHTTPError(403, "no"), creates_only=True)
    assert world.run_to(job) == "failed"
    assert "may not fine-tune" in str(world.job(job).problem)
    assert (world.spent(), world.reserved()) == (0, 0)


def test_a_damaged_dataset_asks_a_person(world: World) -> None:
    job = world.submit()
    world.run_to(job, "running")
    world.backend.model = _damaged  # type: ignore[method-assign,assignment]
    assert world.run_to(job) == "needs_attention"
    assert "test.jsonl" in str(world.job(job).problem)


def _damaged(_handle: object) -> None:
    raise DataError("is damaged; prepare the dataset again", file="test.jsonl")


def test_a_bug_of_a_plugin_is_retried_and_then_told(world: World) -> None:
    job = world.submit()
    world.run_to(job, "running")

    def broken(_handles: object) -> None:
        raise KeyError("surprise")

    world.backend.poll = broken  # type: ignore[method-assign,assignment]
    world.backend.poll_many = broken  # type: ignore[method-assign,assignment]
    looks = 0
    while world.state(job) == "running":
        assert world.step_to_next()
        looks += 1
    assert world.state(job) == "needs_attention"
    assert looks == 8
    assert "8 times in a row" in str(world.job(job).problem)


def test_a_budget_that_is_used_up_asks_a_person(world: World) -> None:
    world.budget(1000)
    job = world.submit()
    assert world.run_to(job) == "needs_attention"
    assert world.provider.paid_requests == 0
    assert "budget 'b'" in str(world.job(job).problem)
    assert world.reserved() == 0
    world.budget(10**12)
    commands.retry(world.engine, job)
    assert world.run_to(job) == "ready"


def test_a_budget_that_is_used_up_cancels_where_the_recipe_says_so(world: World) -> None:
    world.budget(1000)
    job = world.submit(on_exhausted="cancel")
    assert world.run_to(job) == "cancelled"
    assert world.provider.paid_requests == 0
    assert "budget" in world.history(job)[-2].cause


def test_two_jobs_under_one_budget_do_not_overspend_it(world: World) -> None:
    cost = world.dataset.rows("train").tokens * 3 * 1000 + 10**6
    world.budget(cost + cost // 2)
    found = [world.submit(alias=None, on_exhausted="cancel") for _ in range(2)]
    world.drain()
    for job in found:
        world.run_to(job)
    assert sorted(world.state(job) for job in found) == ["cancelled", "ready"]
    assert world.provider.paid_requests == 1


def test_an_earlier_training_is_not_taken_over_without_money(world: World) -> None:
    first = world.submit(train_key="same")
    world.run_to(first)
    world.budget(world.spent() + 10)
    with pytest.raises(BudgetExceeded):
        world.submit(train_key="same")
    assert [row["id"] for row in world.rows(schema.jobs)] == [first]
