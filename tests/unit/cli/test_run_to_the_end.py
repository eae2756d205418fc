from __future__ import annotations

import signal
from decimal import Decimal

from cli_kit import Shop, ended, read_until

from understudy.cli import following
from understudy.cli.exit_codes import ExitCode
from understudy.config import load_config
from understudy.engine import operations
from understudy.store import open_store


def test_a_run_ends_ready_and_its_figures_agree_with_the_bill(shop: Shop):
    before = shop.billed()
    said = shop.call("run", "recipe.toml", "--json")
    assert said.code == ExitCode.OK, said.err
    report = said.json
    assert report["job"]["state"] == "ready"
    assert Decimal(report["cost"]["actual"]) == shop.billed() - before > 0
    assert Decimal(report["cost"]["actual"]) <= Decimal(report["estimate"]["at_most"])
    assert report["dataset"]["rejected"] == {"broken_json": 1}
    scores = {one["subject"]: one for one in report["evaluation"]["subjects"]}
    assert scores["student"]["interval"]["mean"] > scores["base"]["interval"]["mean"]
    assert report["model"]["owner"] == "understudy-sandbox"
    assert report["alias"] == {"name": "intents", "target": "intents@1"}
    _run_again_and_pay_nothing(shop, report["job"]["id"])


def _run_again_and_pay_nothing(shop: Shop, job_id: str) -> None:
    before = shop.billed()
    requests = shop.sandbox.state()["requests"]["fine_tuning.jobs.create"]
    said = shop.call("run", "recipe.toml")
    assert said.code == ExitCode.OK
    assert f"This run is {job_id} already, and it is ready" in said.err
    assert shop.billed() == before
    assert shop.sandbox.state()["requests"]["fine_tuning.jobs.create"] == requests
    cells = {row[0]: row[1:] for row in said.rows}
    assert cells["job"] == [job_id, "ready"]
    assert cells["verdict"][0] == "passed"
    assert cells["rows dropped"] == ["1", "broken_json 1"]
    assert cells["training"][0].startswith("loss ")
    assert cells["model version"][1].endswith("served by understudy-sandbox")
    assert cells["alias"] == ["intents", "points at intents@1"]
    assert said.out.splitlines()[-1].startswith("The provider was the Understudy sandbox")


def test_again_trains_anew(shop: Shop):
    first = shop.call("run", "recipe.toml", "--json").json
    second = shop.call("run", "recipe.toml", "--again", "--json").json
    assert second["job"]["id"] != first["job"]["id"]
    assert second["job"]["remote_id"] != first["job"]["remote_id"]
    assert second["model"]["id"] == "intents@2"
    # Its answers are compared with the model that the alias pointed at.
    assert "present" in {one["subject"] for one in second["evaluation"]["subjects"]}


def test_a_student_below_the_bar_is_rejected_with_its_own_exit_code(shop: Shop):
    shop.write_recipe(bar=1.0)
    said = shop.call("run", "recipe.toml")
    assert said.code == ExitCode.REJECTED
    cells = {row[0]: row[1:] for row in said.rows}
    assert cells["verdict"][0] == "rejected"
    assert "stays below the bar 1.000" in cells["verdict"][1]
    assert cells["alias"] == ["intents", "points at no version yet"]


def test_a_budget_stops_the_run_before_anything_is_sent(shop: Shop):
    shop.write_recipe(limit="0.0001")
    before = shop.sandbox.state()["requests"]
    said = shop.call("run", "recipe.toml")
    assert said.code == ExitCode.BUDGET
    (most,) = {row[5] for row in said.rows if row[0] == "together"}
    assert f"so {most} more cannot be started. Nothing was sent." in said.err
    after = shop.sandbox.state()["requests"]
    for sends in ("files.create", "uploads.create", "fine_tuning.jobs.create"):
        assert after.get(sends) == before.get(sends)
    assert shop.call("jobs", "list", "--json").json == []


def test_detached_runs_are_driven_by_a_worker(shop: Shop):
    said = shop.call("run", "recipe.toml", "--detach", "--json")
    assert said.code == ExitCode.OK
    told = said.json["job"]
    assert (told["state"], told["new"]) == ("created", True)
    assert "understudy worker" in said.err
    before = shop.billed()
    worked = shop.call("worker", "--drain", "--concurrency", "2")
    assert worked.code == ExitCode.OK
    assert f"{told['id']} evaluating -> ready" in worked.err
    report = shop.call("jobs", "show", told["id"], "--json").json
    assert report["job"]["state"] == "ready"
    watched = shop.call("jobs", "watch", told["id"], "--json")
    assert (watched.code, watched.json, watched.err) == (ExitCode.OK, report, "")
    assert Decimal(report["cost"]["actual"]) == shop.billed() - before


def test_a_killed_run_goes_on_where_it_was(slow_shop: Shop):
    shop = slow_shop
    before = shop.billed()
    process = shop.start("run", "recipe.toml")
    read_until(process, " running: ")
    process.kill()
    assert ended(process).code == -signal.SIGKILL
    job_id = shop.job()["id"]
    shop.sandbox.advance(1_000_000)
    said = shop.call("run", "recipe.toml", "--json")
    assert said.code == ExitCode.OK, said.err
    assert f"This run is {job_id} already" in said.err
    assert len(shop.remote_jobs(job_id)) == 1
    assert Decimal(said.json["cost"]["actual"]) == shop.billed() - before


def test_an_interrupted_run_stops_cleanly_and_says_how_to_go_on(slow_shop: Shop):
    process = slow_shop.start("run", "recipe.toml")
    read_until(process, " running: ")
    process.send_signal(signal.SIGINT)
    said = ended(process)
    assert said.code == ExitCode.INTERRUPTED
    assert "Running it again goes on where it is." in said.err
    assert "Traceback" not in said.err
    # Its leases were given back: another worker can go on at once.
    slow_shop.sandbox.advance(1_000_000)
    assert slow_shop.call("worker", "--drain").code == ExitCode.OK
    assert slow_shop.job()["state"] == "ready"


def test_a_run_waits_for_the_lease_of_a_worker_that_is_gone_and_says_so(shop: Shop, monkeypatch):
    shop.call("run", "recipe.toml", "--detach")
    config = load_config()
    store = open_store(config.store.url.get_secret_value())
    claimed = operations.claim(
        store, owner="gone", now=config.clock.now(), lease=40, limit=1, watched=False
    )
    store.close()
    assert len(claimed) == 1
    monkeypatch.setattr(following, "_PATIENCE", 0)
    said = shop.call("run", "recipe.toml")
    assert said.code == ExitCode.OK
    assert "Worker gone holds job-" in said.err
    assert said.err.count("if it is gone, this one goes on then") == 1


def test_a_worker_ends_on_sigterm(slow_shop: Shop):
    process = slow_shop.start("worker")
    read_until(process, "drives")
    process.send_signal(signal.SIGTERM)
    said = ended(process)
    assert said.code == ExitCode.OK
    assert "Stopping after the step at hand." in said.err


def test_a_worker_ends_when_it_was_idle_for_long(shop: Shop):
    said = shop.call("worker", "--max-idle", "0")
    assert said.code == ExitCode.OK
    assert "Worker ended" in said.err


def test_trouble_that_a_person_must_mend_is_told_and_retried(shop: Shop):
    shop.call("run", "recipe.toml", "--detach")
    shop.sandbox.key(expired=True)
    try:
        shop.work_until("needs_attention")
        # Nothing more happens by itself, so the report is shown at once.
        watched = shop.call("jobs", "watch", shop.job()["id"])
    finally:
        shop.sandbox.key(expired=False)
    assert watched.code == ExitCode.ATTENTION
    job_id = shop.job()["id"]
    assert f"understudy jobs retry {job_id}" in watched.err
    said = shop.call("run", "recipe.toml")
    assert said.code == ExitCode.ATTENTION
    assert "problem" in {row[0] for row in said.rows}
    retried = shop.call("jobs", "retry", job_id[:8])
    assert retried.out == f"{job_id} is uploading.\n"
    assert "It had stopped because: " in retried.err
    assert shop.call("run", "recipe.toml").code == ExitCode.OK
