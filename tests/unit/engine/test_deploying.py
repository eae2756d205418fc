"""Deployments for evaluation: made once and asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from deploy_kit import HOUR, PRICE, Place
from engine_kit import (
    DeployingProvider,
)

from understudy.engine import Worker, commands, operations
from understudy.recipe import Deployment
from understudy.testing.fakes import FakeConnectionError, FakeHTTPError


def test_a_student_is_deployed_asked_judged_and_taken_down(place: Place) -> None:
    job = place.go()
    assert place.run_to(job) == "ready"
    (row,) = place.deployed()
    assert row["purpose"] == "evaluation"
    assert place.house.most == 1
    assert {model for model, _ in place.house.asked} == {
        place.backend.model(place.op(job).handle).id
    }  # type: ignore[arg-type]
    place.run_out()
    place.clean()
    bill, spent = place.house.hosting_nanos, place.hosting()["spent_nanos"]
    assert 0 < bill <= spent < bill + PRICE * 30 / HOUR
    assert "deploying" in place.events(job)


def test_an_evaluation_takes_the_sku_without_a_fee_by_itself(place: Place) -> None:
    job = place.submit()
    assert place.run_to(job) == "ready"
    (row,) = place.deployed()
    assert row["sku"] == "developer"
    place.run_out()
    assert place.hosting() == {"spent_nanos": 0, "reserved_nanos": 0}
    place.clean()


def test_the_provider_sees_owner_and_end(place: Place) -> None:
    place.house.deploy_script = ((0, "Creating"),)
    job = place.go(hours=5)
    place.run_to(job, "registering")
    for _ in range(3):
        place.step_to_next()
    (found,) = place.backend.list_deployments()  # type: ignore[attr-defined]
    (row,) = place.deployed()
    assert (found.owner, found.delete_by) == (row["owner"], row["delete_by"])
    assert found.delete_by == row["created_at"] + 5 * HOUR
    assert found.purpose == "evaluation"


def test_hosting_is_reserved_to_its_end_before_it_is_asked_for(place: Place) -> None:
    seen: list[int] = []
    put = place.house.put_deployment
    place.house.put_deployment = lambda *args: (  # type: ignore[method-assign]
        seen.append(place.hosting()["reserved_nanos"]),
        put(*args),
    )[1]
    place.run_to(place.go(hours=10))
    assert seen == [PRICE * 10]


def test_a_budget_too_small_for_the_hours_asks_a_person_and_deploys_nothing(place: Place) -> None:
    place.budget(12 * PRICE)
    job = place.go(hours=24)
    assert place.run_to(job) == "needs_attention"
    problem = place.job(job).problem
    assert problem is not None
    assert "budget" in problem["message"]
    assert place.house.standing() == []
    place.budget(10**12)
    commands.retry(place.engine, job)
    assert place.run_to(job) == "ready"
    place.run_out()
    place.clean()


def _refuse_sku(house: DeployingProvider) -> None:
    house.skus = {"developer": 0}


def _no_room(house: DeployingProvider) -> None:
    house.room = 0


def _no_role(house: DeployingProvider) -> None:
    house.may_deploy = False


def _fails_after_a_while(house: DeployingProvider) -> None:
    house.fails_after = 12.0


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_refuse_sku, "sku"),
        (_no_room, "capacity"),
        (_no_role, "role"),
        (_fails_after_a_while, "ran out of machines"),
    ],
)
def test_trouble_at_deploying_asks_a_person_and_retry_goes_on(
    place: Place, spoil: Any, words: str
) -> None:
    good = {name: getattr(place.house, name) for name in ("skus", "room", "may_deploy")}
    spoil(place.house)
    job = place.go()
    assert place.run_to(job) == "needs_attention"
    problem = place.job(job).problem
    assert problem is not None
    assert words in problem["message"]
    for _ in range(20):
        place.step_to_next()
    assert place.house.standing() == []
    for name, value in good.items():
        setattr(place.house, name, value)
    place.house.fails_after = None
    commands.retry(place.engine, job)
    assert place.run_to(job) == "ready"
    assert place.house.most == 1
    place.run_out()
    place.clean()


def test_another_sku_in_the_recipe_counts_from_the_next_deployment(place: Place) -> None:
    place.house.skus = {"developer": 0}
    job = place.go(sku="standard")
    assert place.run_to(job) == "needs_attention"
    commands.change_deployment(place.engine, job, Deployment(evaluation_sku="developer"))
    commands.retry(place.engine, job)
    assert place.run_to(job) == "ready"
    assert [row["sku"] for row in place.deployed()] == ["standard", "developer"]
    place.run_out()
    place.clean()


@pytest.mark.parametrize(
    "error", [FakeConnectionError("cut"), FakeHTTPError(500, "oops")], ids=["cut", "500"]
)
def test_a_lost_reply_is_adopted_not_doubled(place: Place, error: Exception) -> None:
    job = place.go()
    place.run_to(job, "running")
    place.house.fail(error, creates_only=True, after=True)
    assert place.run_to(job) == "ready"
    assert place.house.most == 1
    assert len(place.deployed()) == 1
    causes = [event.cause for event in place.history(job) if event.event == "deploying"]
    assert len(causes) == 1
    assert causes[0].endswith("found again by its key")
    place.run_out()
    place.clean()
    assert place.hosting()["spent_nanos"] >= place.house.hosting_nanos


def test_a_reply_lost_before_it_took_effect_is_sent_again(place: Place) -> None:
    job = place.go()
    place.run_to(job, "running")
    place.house.fail(FakeConnectionError("cut"), creates_only=True)
    assert place.run_to(job) == "ready"
    assert place.house.most == 1
    place.run_out()
    place.clean()


def test_rate_limits_and_outages_are_waited_out(place: Place) -> None:
    job = place.go()
    place.run_to(job, "running")
    place.house.fail(FakeHTTPError(429, "slow", retry_after=40), creates_only=True)
    place.house.fail(FakeHTTPError(429, "slow", retry_after=40), creates_only=True)
    assert place.run_to(job) == "ready"
    place.run_out()
    place.clean()


def test_a_stuck_jobs_deployment_goes_down_at_its_day_and_retry_deploys_again(
    place: Place,
) -> None:
    answer = place.house.answer

    def broken(model: str, question: str) -> str:
        raise FakeHTTPError(401, "no")

    place.house.answer = broken
    job = place.go(hours=6)
    assert place.run_to(job) == "needs_attention"
    (name,) = place.house.standing()
    place.clock.advance(6 * HOUR + 1)
    other = place.make_worker("another-host")
    for _ in range(10):
        other.drain()
        due = operations.next_due(place.store)
        if due is None:
            break
        place.clock.advance(max(due - place.clock.now(), 0) + 0.001)
    assert place.house.standing() == []
    assert place.state(job) == "needs_attention"
    place.house.answer = answer
    commands.retry(place.engine, job)
    assert place.run_to(job) == "ready"
    assert next(row["name"] for row in place.deployed()) == name
    assert len(place.deployed()) == 2
    place.run_out()
    place.clean()
    assert place.hosting()["spent_nanos"] >= 6 * PRICE


def test_a_deployment_that_is_never_ready_goes_down_at_its_day_and_a_person_is_asked(
    place: Place,
) -> None:
    engine = place.make_engine("w2")
    engine.timing = replace(engine.timing, poll_shortest=120.0)
    place.worker = Worker(engine)
    place.house.deploy_script = ((0, "Creating"),)
    job = place.go(hours=1)
    assert place.run_to(job, steps=2000) == "needs_attention"
    problem = place.job(job).problem
    assert problem is not None
    assert "was not ready" in problem["message"]
    place.run_out()
    assert len(place.deployed()) == 1
    assert place.house.standing() == []
    place.house.deploy_script = ((0, "Succeeded"),)
    commands.retry(place.engine, job)
    assert place.run_to(job) == "ready"
    place.run_out()
    place.clean()


def test_a_deployment_that_somebody_deleted_is_made_again(place: Place) -> None:
    gone: list[str] = []

    def delete(label: str) -> None:
        if label == "evaluate.start" and not gone:
            gone.extend(place.house.standing())
            place.house.vanish(gone[0])

    job = place.go()
    place.worker = place.make_worker("w2", delete)
    assert place.run_to(job) == "ready"
    assert gone == [place.deployed()[0]["name"]]
    assert len(place.deployed()) == 2
    place.run_out()
    place.clean()


def test_a_deployment_that_goes_in_the_middle_does_not_cost_the_student_points(
    place: Place,
) -> None:
    answer = place.house.answer
    left = [2]

    def going(model: str, question: str) -> str:
        if not left[0]:
            left[0] = -1
            place.house.vanish(place.house.standing()[0])
            raise FakeHTTPError(404, "no deployment")
        left[0] -= left[0] > 0
        return answer(model, question)

    place.house.answer = going
    job = place.go()
    assert place.run_to(job) == "ready"
    assert place.report("triage@1").subjects[0].interval.mean == 1.0
    assert len(place.deployed()) == 2
    place.run_out()
    place.clean()


def test_a_new_deployment_that_does_not_answer_yet_is_waited_for(place: Place) -> None:
    answer = place.house.answer
    until = [0.0]

    def late(model: str, question: str) -> str:
        until[0] = until[0] or place.clock.now() + 200
        if place.clock.now() < until[0]:
            raise FakeHTTPError(404, "created within the last 5 minutes: wait a moment")
        return answer(model, question)

    place.house.answer = late
    job = place.go()
    assert place.run_to(job) == "ready"
    assert len(place.deployed()) == 1
    place.run_out()
    place.clean()
