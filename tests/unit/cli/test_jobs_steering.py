from __future__ import annotations

from decimal import Decimal

import pytest
from cli_kit import Shop

from understudy.cli import following
from understudy.cli.exit_codes import ExitCode


def test_a_job_is_paused_resumed_and_cancelled(slow_shop: Shop):
    shop = slow_shop
    before = shop.billed()
    shop.call("run", "recipe.toml", "--detach")
    shop.work_until("running")
    job_id = shop.job()["id"]

    said = shop.call("jobs", "pause", job_id[:7])
    assert (said.code, said.out) == (ExitCode.OK, f"{job_id} is pausing.\n")
    assert "understudy worker" in said.err
    shop.work_until("paused")
    assert shop.remote_jobs(job_id)[0]["status"] == "paused"

    assert shop.call("jobs", "resume", job_id).out == f"{job_id} is resuming.\n"
    shop.work_until("running")

    assert shop.call("jobs", "cancel", job_id).out == f"{job_id} is cancelling.\n"
    shop.work_until("cancelled")
    assert shop.remote_jobs(job_id)[0]["status"] == "cancelled"
    said = shop.call("run", "recipe.toml", "--json")
    assert said.code == ExitCode.JOB_CANCELLED
    # What had been trained is billed, and booked.
    assert Decimal(said.json["cost"]["actual"]) == shop.billed() - before
    told = [line["event"] for line in shop.call("jobs", "events", job_id, "--json").json]
    assert [word for word in told if word in {"pause", "resume", "cancel"}] == [
        "pause",
        "resume",
        "cancel",
    ]


def test_a_job_that_was_cancelled_at_once_never_reaches_the_provider(shop: Shop):
    shop.call("run", "recipe.toml", "--detach")
    job_id = shop.job()["id"]
    shop.call("jobs", "cancel", job_id)
    assert shop.call("worker", "--drain").code == ExitCode.OK
    watched = shop.call("jobs", "watch", job_id)
    assert watched.code == ExitCode.JOB_CANCELLED
    assert "cancelled before it was submitted" in watched.err
    assert shop.remote_jobs(job_id) == []


def test_what_a_state_does_not_allow_is_refused_in_words(shop: Shop):
    shop.call("run", "recipe.toml", "--detach")
    job_id = shop.job()["id"]
    said = shop.call("jobs", "resume", job_id)
    assert said.code == ExitCode.USAGE
    assert "cannot take 'resume'; it can take: cancel" in said.err


def test_watch_says_that_nobody_drives_the_job(shop: Shop, monkeypatch):
    shop.call("run", "recipe.toml", "--detach")
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        if line.startswith("No worker moves"):
            raise KeyboardInterrupt

    monkeypatch.setattr(following, "_PATIENCE", 0)
    monkeypatch.setattr(following, "note", hear)
    assert shop.call("jobs", "watch", shop.job()["id"]).code == ExitCode.INTERRUPTED
    assert "start one with `understudy worker`" in said[-1]


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (("jobs", "show", "job-nope"), "there is no job 'job-nope'"),
        (("jobs", "list", "--state", "redy"), "did you mean 'ready'?"),
        (("jobs", "attach", "job-1"), "add --recipe RECIPE"),
        (("jobs", "attach", "a", "b", "--recipe", "recipe.toml"), "give the provider's job id"),
        (("models", "show", "nope@1"), "there is no model version or alias 'nope@1'"),
        (("models", "alias", "nope"), "there is no alias 'nope'"),
        (("models", "alias", "Nope@1", "intents@1"), "'Nope@1' cannot be an alias"),
        (("datasets", "show", "nope"), "there is no dataset 'nope'"),
        (("run", "absent.toml"), "understudy init"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(shop: Shop, argv: tuple[str, ...], word: str):
    said = shop.call(*argv)
    assert said.code == ExitCode.USAGE
    assert word in said.err
    assert said.err.count("\n") == 1


def test_a_checkpoint_cannot_be_read_before_the_job_was_submitted(shop: Shop):
    shop.call("run", "recipe.toml", "--detach")
    said = shop.call("jobs", "checkpoints", shop.job()["id"])
    assert said.code == ExitCode.USAGE
    assert "has no job at box yet" in said.err


def test_a_job_made_elsewhere_is_taken_in_judged_and_booked(shop: Shop):
    made = shop.call("run", "recipe.toml", "--json").json
    (shop.folder / ".understudy").rename(shop.folder / "elsewhere")
    before = shop.billed()

    shop.write_recipe(base="gpt-4.1-nano-2025-04-14")
    said = shop.call("jobs", "attach", made["job"]["remote_id"], "--recipe", "recipe.toml")
    assert said.code == ExitCode.USAGE
    assert "trains gpt-4o-mini-2024-07-18, the recipe gpt-4.1-nano-2025-04-14" in said.err

    shop.write_recipe()
    said = shop.call("jobs", "attach", made["job"]["remote_id"], "--recipe", "recipe.toml")
    assert said.code == ExitCode.OK
    assert "Nobody here knows which rows" in said.err
    causes = [line["cause"] for line in shop.call("jobs", "events", "job-", "--json").json]
    assert causes == [f"made elsewhere: {made['job']['remote_id']}"] * 3

    report = shop.call("run", "recipe.toml", "--json").json
    assert report["job"]["state"] == "ready"
    assert report["job"]["remote_id"] == made["job"]["remote_id"]
    training, evaluation = report["cost"]["lines"]
    assert training["spent"] == made["cost"]["lines"][0]["spent"]
    # Only the answers were paid now; the training had been paid before.
    assert Decimal(evaluation["spent"]) == shop.billed() - before
    lineage = shop.call("models", "show", "intents", "--json").json["lineage"]
    assert lineage["handle"]["data"]["made_elsewhere"] is True

    said = shop.call("jobs", "attach", made["job"]["remote_id"], "--recipe", "recipe.toml")
    assert said.code == ExitCode.USAGE
    assert f"this recipe's run is {report['job']['id']} already" in said.err
    shop.write_recipe(name="other")
    said = shop.call("jobs", "attach", made["job"]["remote_id"], "--recipe", "recipe.toml")
    assert said.code == ExitCode.USAGE
    assert f"belongs to {report['job']['id']} already" in said.err
