"""Deployments for evaluation: several at once, and taken down whatever happens."""

from __future__ import annotations

import pytest
from deploy_kit import Place
from engine_kit import (
    Crash,
    crash_at,
)

from understudy.engine import operations
from understudy.engine.points import DEPLOY_LABELS
from understudy.store import registry
from understudy.testing.fakes import FakeConnectionError, FakeHTTPError


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
