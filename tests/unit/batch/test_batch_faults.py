"""What providers do to batches, one test each: nothing is lost, nothing is asked or paid twice."""

from __future__ import annotations

import os
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from batch_kit import Desk, questions

from understudy.batch import retry
from understudy.engine import batch_shards

CREATE = "batches.create"


def attempts(desk: Desk) -> list[int]:
    """Requests of each of the provider's batches."""
    return [batch["request_counts"]["total"] for batch in desk.batches()]


def test_lost_rows_are_asked_again_alone(desk: Desk) -> None:
    desk.faults({"on": CREATE, "do": "lose_rows", "fraction": 0.25})
    run = desk.begin(40)
    report = desk.run_to(run)
    assert desk.fired() == [1]
    assert attempts(desk) == [40, 10]
    assert [(s.round, s.answered, s.again) for s in report.shards] == [(1, 30, 10), (2, 10, 0)]
    desk.assert_whole(run, 40)


def test_an_expired_batch_keeps_its_part_and_the_rest_is_asked_again(desk: Desk) -> None:
    desk.faults({"on": CREATE, "do": "expire_batch", "fraction": 0.4})
    run = desk.begin(40)
    report = desk.run_to(run)
    assert desk.batches()[0]["status"] == "expired"
    assert attempts(desk) == [40, 24]
    assert "expired" in str(report.shards[0].problem)
    desk.assert_whole(run, 40)


def test_completed_without_an_output_file_is_asked_again(desk: Desk) -> None:
    desk.faults({"on": CREATE, "do": "no_output_file"})
    run = desk.begin(20)
    report = desk.run_to(run)
    assert attempts(desk) == [20, 20]
    first = report.shards[0]
    assert (first.answered, first.again) == (0, 20)
    # The provider says that it completed twenty: that is never booked as nothing.
    assert first.cost_nanos == first.guessed_nanos > 0
    assert report.account.guessed_usd > 0
    assert None not in desk.cached(run, questions(20))
    assert desk.spent() >= desk.billed()


def test_an_error_file_that_is_there_and_empty_changes_nothing(desk: Desk) -> None:
    desk.faults({"on": CREATE, "do": "empty_error_file"})
    run = desk.begin(40)
    desk.run_to(run)
    assert desk.batches()[0]["error_file_id"]
    assert attempts(desk) == [40]
    desk.assert_whole(run, 40)


def test_rows_in_another_order_find_their_requests(desk: Desk) -> None:
    desk.faults({"on": CREATE, "do": "reorder_rows"})
    run = desk.begin(40)
    desk.run_to(run)
    assert attempts(desk) == [40]
    desk.assert_whole(run, 40)


def test_a_batch_refused_for_a_duplicate_custom_id_is_sent_again_then_a_person_is_asked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = desk.begin(20, batch={"attempts": 2})
    rows = batch_shards.folder(desk.engine, run) / "00001.rows"
    whole = rows.read_bytes()
    # Keys are unique by construction; a damaged shard shows what the provider makes of it.
    rows.write_bytes(whole + whole.splitlines(keepends=True)[0])
    report = desk.run_to(run)
    assert report.run.state == "needs_attention"
    assert "used before" in report.run.problem["message"]
    assert [batch["status"] for batch in desk.batches()] == ["failed", "failed"]
    assert (desk.billed(), desk.spent(), desk.reserved()) == (0, 0, 0)
    rows.write_bytes(whole)
    retry(desk.engine, run.id)
    assert desk.run_to(run).run.state == "done"
    desk.assert_whole(run, 20)


def test_files_that_expired_before_they_were_fetched_are_asked_again(desk: Desk) -> None:
    desk.faults({"on": CREATE, "do": "expire_files"})
    run = desk.begin(20)
    report = desk.run_to(run)
    assert attempts(desk) == [20, 20]
    assert "no longer" in str(report.shards[0].problem)
    assert report.account.guessed_usd > 0
    assert None not in desk.cached(run, questions(20))
    assert desk.spent() >= desk.billed()


def test_over_the_quota_after_the_create_waits_and_goes_out_again(desk: Desk) -> None:
    desk.faults({"on": CREATE, "do": "over_quota", "after": 1, "times": 2})
    run = desk.begin(120)
    report = desk.run_to(run)
    assert desk.fired() == [2]
    statuses = sorted(batch["status"] for batch in desk.batches())
    assert statuses == ["completed"] * 3 + ["failed"] * 2
    assert [shard.tries for shard in report.shards] == [0, 0, 0]
    desk.assert_whole(run, 120)


@pytest.mark.parametrize("status", [429, 503])
def test_a_create_that_is_turned_away_is_sent_again(desk: Desk, status: int) -> None:
    desk.faults({"on": CREATE, "do": "error", "status": status, "retry_after": 7, "times": 2})
    run = desk.begin(20)
    desk.run_to(run)
    assert desk.fired() == [2]
    assert attempts(desk) == [20]
    desk.assert_whole(run, 20)


@pytest.mark.parametrize("fault", ["error_after", "drop_after", "truncate"])
def test_a_create_whose_reply_is_lost_makes_one_batch(desk: Desk, fault: str) -> None:
    desk.faults({"on": CREATE, "do": fault})
    run = desk.begin(20)
    desk.run_to(run)
    assert desk.fired() == [1]
    assert attempts(desk) == [20]
    desk.assert_whole(run, 20)


def test_a_cut_output_file_loses_no_row(desk: Desk) -> None:
    desk.faults({"on": CREATE, "do": "truncate_output", "fraction": 0.5})
    run = desk.begin(40)
    report = desk.run_to(run)
    first, second = report.shards
    assert first.answered + first.again == 40
    assert second.answered == first.again > 0
    assert first.strays == 1  # the line that was cut in its middle
    assert None not in desk.cached(run, questions(40))
    assert desk.spent() >= desk.billed()


def test_filtered_rows_are_kept_apart_and_not_asked_again(desk: Desk) -> None:
    desk.faults({"on": CREATE, "do": "filter_rows", "fraction": 0.25})
    run = desk.begin(40)
    report = desk.run_to(run)
    assert attempts(desk) == [40]
    assert (report.account.answered, report.account.refused) == (30, 10)
    folder = batch_shards.folder(desk.engine, run)
    assert len((folder / "00001.apart.jsonl").read_bytes().splitlines()) == 10
    desk.assert_paid()


def test_rows_that_go_on_failing_end_as_failed_with_the_providers_words(desk: Desk) -> None:
    desk.faults({"on": CREATE, "do": "fail_rows", "fraction": 1.0, "status": 500, "times": None})
    run = desk.begin(20, batch={"attempts": 2})
    report = desk.run_to(run)
    assert attempts(desk) == [20, 20]
    assert report.run.state == "withheld"
    assert (report.account.failed, report.account.to_do) == (20, 0)
    path = batch_shards.folder(desk.engine, run) / "00001.r2.apart.jsonl"
    assert b"asked 2 times" in path.read_bytes()
    desk.assert_paid()


def test_rows_without_usage_are_counted_here_and_marked(desk: Desk) -> None:
    desk.faults({"on": CREATE, "do": "no_usage"})
    run = desk.begin(20)
    report = desk.run_to(run)
    account = report.account
    assert (account.answered, account.counted_here) == (20, 20)
    assert account.spent_usd > 0
    assert abs(account.spent_usd - desk.billed()) < desk.billed() * Decimal("0.05")


def test_a_batch_that_somebody_cancels_is_finished_by_another(desk: Desk) -> None:
    desk.faults({"on": CREATE, "do": "cancel_batch", "at": 0.5})
    run = desk.begin(40)
    report = desk.run_to(run)
    assert [batch["status"] for batch in desk.batches()] == ["cancelled", "completed"]
    assert report.shards[0].again == report.shards[1].answered > 0
    desk.assert_whole(run, 40)


_NODE = """
import OpenAI from "openai";
const client = new OpenAI();
const seen = [];
for await (const batch of client.batches.list()) seen.push(batch);
const ours = seen.find((b) => b.metadata?.understudy_shard && b.status === "in_progress");
await client.batches.cancel(ours.id);
console.log(ours.id, ours.metadata.understudy_run);
"""


def test_an_independent_client_sees_and_cancels_a_batch(desk: Desk, tmp_path: Path) -> None:
    node = Path(__file__).parents[3] / ".peers/node"
    if not (node / "node_modules/openai").exists():
        pytest.skip("the npm client is not installed here; `make test` installs it with npm")
    run = desk.begin(40)
    running = ("in_progress",)
    desk.run_until(lambda: [b["status"] for b in desk.batches()] == list(running))
    said = _run_node(desk, node)
    assert said == f"{desk.batches()[0]['id']} {run.id}"
    report = desk.run_to(run)
    assert [batch["status"] for batch in desk.batches()] == ["cancelled", "completed"]
    assert report.run.state == "done"
    desk.assert_whole(run, 40)


def _run_node(desk: Desk, folder: Path) -> str:
    env: dict[str, Any] = {
        "OPENAI_API_KEY": desk.sandbox.api_key,
        "OPENAI_BASE_URL": desk.sandbox.url,
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        ["node", "--input-type=module", "-e", _NODE],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
