"""Deployments for evaluation: made once, asked, and taken down whatever happens."""

from __future__ import annotations

from typing import Any

import pytest
from engine_kit import (
    Crash,
    DeployingKitBackend,
    DeployingProvider,
    World,
    crash_at,
)

from understudy.data import Dataset
from understudy.engine import commands, operations
from understudy.engine.points import DEPLOY_LABELS
from understudy.recipe import Deployment
from understudy.store import Store, registry, schema
from understudy.testing.fakes import FakeConnectionError, FakeHTTPError

HOUR = 3600
PRICE = 1_700_000_000
"""Of an hour of sku standard, in nano-dollars."""


class Place(World):
    """A world whose provider deploys."""

    @property
    def house(self) -> DeployingProvider:
        assert isinstance(self.provider, DeployingProvider)
        return self.provider

    def go(self, **changes: Any) -> str:
        sku = changes.pop("sku", "standard")
        hours = changes.pop("hours", 24)
        return self.submit(
            deployment=Deployment(evaluation_sku=sku, evaluation_hours=hours), **changes
        )

    def run_out(self, steps: int = 400) -> None:
        """Let everything that is due come to its end."""
        for _ in range(steps):
            self.drain()
            if not self.step_to_next(limit=40 * 24 * HOUR):
                return
        raise AssertionError(self.rows(schema.operations))

    def hosting(self) -> dict[str, int]:
        lines = [row for row in self.rows(schema.ledger) if row["kind"] == "hosting"]
        return {name: sum(row[name] for row in lines) for name in ("spent_nanos", "reserved_nanos")}

    def clean(self) -> None:
        """Nothing stands, nothing is reserved, nothing waits."""
        assert self.house.standing() == []
        assert self.reserved() == 0
        assert {row["state"] for row in self.deployed()} <= {"stopped"}
        assert operations.next_due(self.store) is None


@pytest.fixture
def place(store: Store, dataset: Dataset) -> Place:
    return Place(store, dataset, cls=DeployingKitBackend)


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


def test_the_present_model_is_deployed_beside_it(place: Place) -> None:
    first = place.go()
    assert place.run_to(first) == "ready"
    place.run_out()
    second = place.go(evaluation={"margin": 1.0})
    assert place.run_to(second) == "ready"
    mine = [row for row in place.deployed() if row["job_id"] == second]
    assert len({row["model"] for row in mine}) == 2
    subjects = [one.subject for one in place.report("triage@2").subjects]
    assert subjects == ["student", "present"]
    place.run_out()
    place.clean()


def test_two_jobs_do_not_ask_through_each_others_deployments(place: Place) -> None:
    first = place.go()
    assert place.run_to(first) == "ready"
    place.run_out()
    found = [place.go(evaluation={"margin": 1.0}) for _ in range(2)]
    for job in found:
        assert place.run_to(job) == "ready"
    for number in (2, 3):
        names = [one.subject for one in place.report(f"triage@{number}").subjects]
        assert names == ["student", "present"]
    place.run_out()
    place.clean()


def test_an_earlier_trainings_model_is_deployed_again_and_must_answer(place: Place) -> None:
    first = place.go(train_key="same")
    assert place.run_to(first) == "ready"
    place.run_out()
    asked = len(place.house.asked)
    second = place.go(train_key="same", evaluation={"bar": 0.2})
    assert place.run_to(second) == "ready"
    assert len(place.house.jobs) == 1
    assert len(place.deployed()) == 2
    # Its answers are known; only that the new deployment answers had to be seen.
    assert len(place.house.asked) == asked + 1
    place.run_out()
    place.clean()
    assert place.spent() >= place.house.bill_nanos


@pytest.mark.parametrize("label", DEPLOY_LABELS)
@pytest.mark.parametrize("times", [1, 3])
def test_a_crash_at_any_point_leaves_one_deployment_and_none_in_the_end(
    place: Place, label: str, times: int
) -> None:
    job = place.go()
    place.run_to(job, "running")
    reach = crash_at(label, times=times)
    crashes = 0
    for number in range(300):
        worker = place.make_worker(f"mortal-{number}", reach)
        try:
            worker.drain()
        except Crash:
            crashes += 1
        assert len(place.house.standing()) <= 1
        due = operations.next_due(place.store)
        if due is None:
            break
        place.clock.advance(max(due - place.clock.now(), 0) + 0.001)
    # What is done when a label is reached is not done again.
    assert crashes == (1 if label.endswith((".after-reply", ".stored")) else times)
    assert place.state(job) == "ready"
    assert place.house.most == 1
    place.clean()
    assert place.hosting()["spent_nanos"] >= place.house.hosting_nanos


def test_taking_down_goes_on_through_any_trouble(place: Place) -> None:
    job = place.go()
    assert place.run_to(job) == "ready"
    for status in (500, 401, 403, 429, 500, 401, 404):
        place.house.fail(FakeHTTPError(status, "no"))
    place.house.fail(FakeConnectionError("cut"))
    place.run_out()
    place.clean()
    assert place.state(job) == "ready"
    told = [event.cause for event in place.history(job) if event.event == "undeploying"]
    assert len(told) == 1
    assert "cannot be taken down" in told[0]


def test_a_stop_that_the_provider_forgets_is_asked_for_again(place: Place) -> None:
    delete = place.house.delete_deployment
    asked: list[str] = []

    def forgetful(api_key: str, name: str) -> None:
        asked.append(name)
        if len(asked) > 1:
            delete(api_key, name)

    place.house.delete_deployment = forgetful  # type: ignore[method-assign]
    job = place.go()
    assert place.run_to(job) == "ready"
    place.run_out()
    assert len(asked) == 2
    place.clean()


def test_a_deployment_that_is_no_longer_wanted_is_not_left_in_doubt(place: Place) -> None:
    """The evaluation ends while another deployment of the job is still being sent."""
    first = place.go()
    assert place.run_to(first) == "ready"
    place.run_out()
    job = place.go(evaluation={"margin": 1.0})
    place.run_to(job, "evaluating")
    with place.store.write() as tx:
        registry.move_alias(tx, alias="live", model_id="triage@2", cause="test", at=0.0, force=True)
    # The present model's deployment is asked for, and its reply lost.
    place.house.fail(FakeConnectionError("cut"), creates_only=True, after=True)
    assert place.run_to(job) == "ready"
    place.run_out()
    place.clean()


def test_a_worker_that_wakes_after_its_deployment_was_given_up_leaves_nothing(
    place: Place,
) -> None:
    """Frozen between its last look and the request, it sends when the job has gone on."""
    woken: list[str] = []

    def freeze(label: str) -> None:
        if label == "deploy.before-post" and not woken:
            woken.append(label)
            with place.store.write() as tx:
                key = place.deployed()[0]["operation"]
                operations.close(tx, key, at=place.clock.now())
                operations.insert(
                    tx,
                    key=f"{key}.down",
                    kind="undeploy",
                    backend="fake",
                    at=place.clock.now(),
                    job_id=place.deployed()[0]["job_id"],
                    payload={"deploy": key},
                )

    job = place.go()
    place.run_to(job, "running")
    place.worker = place.make_worker("sleeper", freeze)
    assert place.run_to(job) == "ready"
    assert woken
    assert place.run_to(job) == "ready"
    place.run_out()
    place.clean()
