"""A deployment for applications: serving only when it has answered."""

from __future__ import annotations

from typing import Any

import pytest
from deploy_kit import HOUR, Place
from engine_kit import Crash, crash_at, right

from understudy.engine import deployments, hosting
from understudy.engine.deployments import DeploymentRecord
from understudy.store import registry, schema
from understudy.testing.fakes import FakeConnectionError, FakeHTTPError


@pytest.fixture
def standing(place: Place) -> DeploymentRecord:
    """A serving deployment that is asked for, of a model whose evaluation is over."""
    job = place.go(sku="developer")
    assert place.run_to(job) == "ready"
    place.run_out()
    place.house.asked.clear()
    return _start(place)


def _start(place: Place) -> DeploymentRecord:
    with place.store.read() as tx:
        version = registry.get_model(tx, "triage@1")
    record, _ = hosting.start(place.engine, version, sku="standard", hours=24)
    return record


def _now(place: Place, record: DeploymentRecord) -> DeploymentRecord:
    with place.store.read() as tx:
        return deployments.watch(tx, str(record.key))


def _until(place: Place, record: DeploymentRecord, *states: str) -> DeploymentRecord:
    for _ in range(300):
        place.drain()
        found = _now(place, record)
        if found.state in states or found.problem:
            return found
        assert place.step_to_next(limit=HOUR)
    raise AssertionError(found)


def _proof(place: Place) -> list[dict[str, Any]]:
    return [row for row in place.rows(schema.ledger) if row["kind"] == "proof"]


def _refuse(_model: str, _question: str) -> str:
    raise FakeHTTPError(404, "no such deployment")


def test_it_serves_when_it_has_answered_one_question_that_is_paid_for(
    place: Place, standing: DeploymentRecord
) -> None:
    assert _until(place, standing, "serving").problem is None
    assert len(place.house.asked) == 1
    (line,) = _proof(place)
    assert (line["status"], line["reserved_nanos"]) == ("settled", 0)
    assert line["spent_nanos"] > 0
    assert place.rows(schema.asked) == []


def test_one_that_does_not_answer_yet_is_asked_until_it_does(
    place: Place, standing: DeploymentRecord
) -> None:
    place.house.answer = _refuse
    for _ in range(5):
        place.step_to_next()
    assert _now(place, standing).state == "starting"
    place.house.answer = right
    assert _until(place, standing, "serving").problem is None
    assert _proof(place)[0]["status"] == "settled"


def test_one_that_never_answers_is_told_and_goes_down(
    place: Place, standing: DeploymentRecord
) -> None:
    place.house.answer = _refuse
    found = _until(place, standing, "serving")
    assert found.state == "starting"
    assert found.problem is not None
    assert "does not answer although it is ready" in found.problem
    hosting.stop(place.engine, found)
    place.run_out()
    place.clean()


def test_starting_it_again_asks_it_again(place: Place, standing: DeploymentRecord) -> None:
    place.house.answer = _refuse
    assert _until(place, standing, "serving").state == "starting"
    place.house.answer = right
    again = _start(place)
    assert again.key == standing.key
    assert _until(place, again, "serving").problem is None


@pytest.mark.parametrize(("label", "repaid"), [("evaluate.asked", 1), ("evaluate.answered", 0)])
def test_a_worker_that_dies_beside_the_question_pays_no_more_than_is_listed(
    place: Place, standing: DeploymentRecord, label: str, repaid: int
) -> None:
    mortal = place.make_worker("mortal", crash_at(label))
    with pytest.raises(Crash):
        for _ in range(50):
            mortal.drain()
            place.clock.advance(5)
    assert _until(place, standing, "serving").problem is None
    assert len(place.house.asked) == 1
    assert len(place.rows(schema.repaid)) == repaid
    assert _proof(place)[0]["spent_nanos"] > 0


def test_an_answer_in_doubt_is_listed_when_the_deployment_is_stopped(
    place: Place, standing: DeploymentRecord
) -> None:
    def lost(_model: str, _question: str) -> str:
        raise FakeConnectionError

    place.house.answer = lost
    while not place.rows(schema.asked):
        assert place.step_to_next(limit=HOUR)
    hosting.stop(place.engine, _now(place, standing))
    place.run_out()
    place.clean()
    assert place.rows(schema.asked) == []
    assert place.rows(schema.repaid)


def test_an_evaluation_does_not_wait_for_it(place: Place, standing: DeploymentRecord) -> None:
    place.house.answer = _refuse
    assert _until(place, standing, "serving").state == "starting"
    place.house.answer = right
    job = place.go(train_key="again", evaluation={"margin": 1.0})
    assert place.run_to(job) == "ready"
    assert [one.subject for one in place.report("triage@2").subjects] == ["student", "present"]
