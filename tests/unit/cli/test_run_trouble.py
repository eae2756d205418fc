from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cli_kit import Shop

from understudy.cli.exit_codes import ExitCode

CREATE = "fine_tuning.jobs.create"
LIST_REFUSED = {
    "on": "fine_tuning.jobs.list",
    "do": "error",
    "status": 401,
    "code": "invalid_api_key",
    "times": None,
}


@pytest.fixture(autouse=True)
def _no_faults_left(shop: Shop) -> Iterator[None]:
    yield
    shop.sandbox.faults()


def _stopped_in_submission(shop: Shop, create: dict[str, Any]) -> str:
    """A run whose create got no answer and whose job could not be looked for."""
    shop.sandbox.faults(create, LIST_REFUSED)
    said = shop.call("run", "recipe.toml", "--json")
    shop.sandbox.faults()
    assert said.code == ExitCode.ATTENTION, said.err
    assert said.json["job"]["stage"] == "submitting"
    job_id: str = said.json["job"]["id"]
    return job_id


def test_a_job_whose_answer_was_lost_is_attached_by_its_remote_id(shop: Shop):
    job_id = _stopped_in_submission(shop, {"on": CREATE, "do": "error_after", "status": 500})
    (remote,) = shop.remote_jobs(job_id)
    said = shop.call("jobs", "attach", job_id, remote["id"])
    assert (said.code, said.out) == (ExitCode.OK, f"{job_id} is running.\n")
    report = shop.call("run", "recipe.toml", "--json").json
    assert (report["job"]["state"], report["job"]["remote_id"]) == ("ready", remote["id"])
    assert len(shop.remote_jobs(job_id)) == 1


def test_a_job_that_never_arrived_is_submitted_again_when_a_person_says_so(shop: Shop):
    job_id = _stopped_in_submission(shop, {"on": CREATE, "do": "drop"})
    assert shop.remote_jobs(job_id) == []
    said = shop.call("jobs", "retry", job_id, "--resubmit")
    assert (said.code, said.out) == (ExitCode.OK, f"{job_id} is submitting.\n")
    assert shop.call("run", "recipe.toml").code == ExitCode.OK
    assert len(shop.remote_jobs(job_id)) == 1


def test_a_job_that_fails_at_the_provider_has_its_own_exit_code_and_says_why(shop: Shop):
    shop.sandbox.faults({"on": CREATE, "do": "fail_job", "at": 0.5, "code": "unsafe_file"})
    said = shop.call("run", "recipe.toml")
    assert said.code == ExitCode.JOB_FAILED
    cells = {row[0]: row[1:] for row in said.rows}
    assert cells["problem"][0] == "unsafe_file"
    assert cells["actual cost"][0] == "$0.00"
    assert "verdict" not in cells


def test_a_run_that_was_submitted_goes_on_while_the_provider_cannot_say_when_its_model_ends(
    shop: Shop,
):
    shop.call("run", "recipe.toml", "--detach")
    shop.sandbox.faults({"on": "models.retrieve", "do": "error", "status": 503, "times": 1})
    said = shop.call("run", "recipe.toml")
    assert said.code == ExitCode.OK, said.err
    assert shop.sandbox.fault_counts()[0]["hits"] == 1
