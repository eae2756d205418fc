"""Precompute from rows to a published generation, undisturbed and steered by a person."""

from __future__ import annotations

from decimal import Decimal

import orjson
import pytest
from batch_kit import Desk, questions

from understudy.batch import cancel, estimate, publish_anyway, retry, start
from understudy.cache import unpack
from understudy.costs.ledger import open_budget
from understudy.errors import BudgetExceeded, ConfigError, DataError
from understudy.model import ChatReply


def test_from_rows_to_a_generation(desk: Desk) -> None:
    run = desk.begin(100, check={"sample": 5})
    report = desk.run_to(run)
    assert report.run.state == "done"
    assert [shard.requests for shard in report.shards] == [40, 40, 20]
    assert len(desk.batches()) == 3
    assert report.account.coverage == 1.0
    sample = report.run.result["sample"]
    assert (sample["asked"], sample["agreement"]) == (5, 1.0)
    desk.assert_whole(run)
    reply = unpack(desk.cached(run, questions(1))[0])
    assert isinstance(reply, ChatReply)
    assert reply.text
    saved = Decimal(report.run.result["saved"]["against_live_usd"])
    assert saved == report.account.spent_usd  # a batch costs half
    assert desk.billed() > report.account.spent_usd  # the sample was asked live


def test_rows_are_counted_once_each(desk: Desk) -> None:
    rows = [*questions(10), *questions(10), b"{oops", b"[1]", {"other": 1}, {"q": None}]
    run, _ = start(desk.engine, desk.plan(desk.recipe(desk.rows(rows))))
    account = desk.run_to(run).account
    assert (account.rows, account.rejected, account.duplicates) == (24, 4, 10)
    assert account.answered == 10
    rejects = (desk.config.data.batches / run.folder / "rejects.jsonl").read_bytes().splitlines()
    told = [orjson.loads(line) for line in rejects]
    assert [one["line"] for one in told] == [21, 22, 23, 24]
    assert all(one["reason"] and one["file"].endswith("rows.jsonl") for one in told)
    assert told[0]["row"] == "{oops"


def test_what_the_cache_knows_is_not_asked_again(desk: Desk) -> None:
    first = desk.begin(30)
    desk.run_to(first)
    plan = desk.plan(desk.recipe(desk.rows(questions(50), "more.jsonl")))
    assert (plan.planned.known, plan.planned.asked) == (30, 20)
    second, _ = start(desk.engine, plan)
    report = desk.run_to(second)
    assert (report.account.known, report.account.answered) == (30, 20)
    assert report.account.coverage == 1.0
    current = desk.project.cache.stats("hot").current
    assert current.id == second.id
    assert current.entries == 50
    desk.assert_paid()
    assert desk.project.cache.rollback("hot").id == first.id


def test_the_same_inputs_find_the_same_run(desk: Desk) -> None:
    recipe = desk.recipe(desk.rows(questions(30)))
    plan = desk.plan(recipe)
    again = desk.plan(desk.recipe(desk.rows(questions(30)[::-1], "turned.jsonl")))
    assert again.id != plan.id  # another file, though of the same rows
    assert [s.tokens for s in again.planned.shards] == [s.tokens for s in plan.planned.shards]
    run, new = start(desk.engine, plan)
    assert new
    found, new = start(desk.engine, desk.plan(recipe))
    assert (found.id, new) == (run.id, False)
    desk.run_to(run)
    assert start(desk.engine, desk.plan(recipe))[0].state == "done"
    assert len(desk.batches()) == 1
    repeat = desk.plan(recipe, again=True)
    assert repeat.id == f"{run.id}-2"
    assert (repeat.planned.known, repeat.planned.asked) == (30, 0)
    desk.run_to(start(desk.engine, repeat)[0])
    assert len(desk.batches()) == 1


def test_the_plan_says_what_it_costs_before_anything_is_sent(desk: Desk) -> None:
    before = desk.provider.requests()
    plan = desk.plan(desk.recipe(desk.rows(questions(100)), compare={"teacher": "gpt-4.1"}))
    figures = estimate(desk.engine, plan)
    assert desk.provider.requests() == before
    assert (figures.requests, figures.batches) == (100, 3)
    assert figures.live == 2 * figures.expected
    assert figures.at_most > figures.expected > 0
    assert figures.teacher > figures.live
    assert figures.hours_at_most == 24 * figures.waves


def test_a_budget_that_is_too_small_stops_it_before_it_sends(desk: Desk) -> None:
    before = desk.provider.requests()
    with pytest.raises(BudgetExceeded, match="Nothing was sent"):
        desk.begin(100, budget={"limit_usd": "0.0000001"})
    assert desk.provider.requests() == before


def test_rows_that_cannot_be_asked_are_no_run(desk: Desk) -> None:
    with pytest.raises(DataError, match=r"rejects\.jsonl says why"):
        desk.plan(desk.recipe(desk.rows([{"other": 1}])))
    with pytest.raises(ConfigError, match="no field of the input"):
        desk.plan(desk.recipe(desk.rows(questions(3)), ask={"prompt": "Is it hot?"}))


def test_answers_that_fail_the_check_stay_out_and_the_generation_is_withheld(desk: Desk) -> None:
    schema = {"type": "object", "required": ["intent"]}
    run = desk.begin(20, check={"json_schema": schema})
    report = desk.run_to(run)
    assert report.run.state == "withheld"
    assert report.account.invalid == 20
    assert report.run.result["reasons"] == ["nothing was answered"]
    assert desk.project.cache.stats("hot").current is None
    apart = (desk.config.data.batches / run.folder / "00001.apart.jsonl").read_bytes().splitlines()
    told = orjson.loads(apart[0])
    assert told["reason"] == "it is not JSON"
    assert told["texts"][0].startswith("Is item ")
    desk.assert_paid()
    assert desk.spent() > 0  # they were answered, so they were paid


def test_strict_withholds_what_is_not_covered_and_a_person_may_publish_it(desk: Desk) -> None:
    desk.faults({"on": "batches.create", "do": "filter_rows", "fraction": 0.5})
    run = desk.begin(40, publish={"coverage": 0.9})
    report = desk.run_to(run)
    assert report.run.state == "withheld"
    assert (report.account.answered, report.account.refused) == (20, 20)
    assert "coverage is 0.5000, below 0.9" in report.run.result["reasons"]
    assert desk.project.cache.stats("hot").current is None
    with pytest.raises(ConfigError, match="precompute publish"):
        retry(desk.engine, run.id)
    publish_anyway(desk.engine, run.id)
    assert desk.run_to(run).run.state == "done"
    assert desk.project.cache.stats("hot").current.entries == 20
    desk.assert_paid()


def test_a_cancelled_run_keeps_what_was_answered_and_goes_on_later(desk: Desk) -> None:
    run = desk.begin(100, batch={"at_once": 1})
    desk.run_until(lambda: any(shard.state == "collected" for shard in desk.shards(run)))
    desk.run_until(lambda: any(shard.state == "running" for shard in desk.shards(run)))
    cancel(desk.engine, run.id)
    report = desk.run_to(run)
    assert report.run.state == "cancelled"
    assert 0 < report.account.answered < 100
    assert report.account.answered + report.account.to_do == 100
    assert desk.reserved() == 0
    assert "cancelled" in {batch["status"] for batch in desk.batches()}
    with pytest.raises(ConfigError, match="nothing left to cancel"):
        cancel(desk.engine, run.id)
    found, new = start(desk.engine, desk.plan(desk.recipe(desk.folder / "rows.jsonl")))
    assert (found.id, new) == (run.id, False)
    assert desk.run_to(run).run.state == "done"
    desk.assert_whole(run)


def test_a_refused_key_asks_a_person_and_goes_on_after(desk: Desk) -> None:
    desk.faults({"on": "files.create", "do": "error", "status": 401, "times": 1})
    run = desk.begin(20)
    report = desk.run_to(run)
    assert report.run.state == "needs_attention"
    assert report.run.problem["stage"] == "running"
    retry(desk.engine, run.id)
    assert desk.run_to(run).run.state == "done"
    desk.assert_whole(run, 20)


def test_money_that_is_used_up_meanwhile_asks_a_person(desk: Desk) -> None:
    run = desk.begin(120, batch={"at_once": 1})
    desk.run_until(lambda: any(shard.state == "collected" for shard in desk.shards(run)))
    with desk.project.store.write() as tx:
        open_budget(tx, name="hot", limit_nanos=1)
    report = desk.run_to(run)
    assert report.run.state == "needs_attention"
    assert "budget 'hot'" in report.run.problem["message"]
    with desk.project.store.write() as tx:
        open_budget(tx, name="hot", limit_nanos=10**9)
    retry(desk.engine, run.id)
    assert desk.run_to(run).run.state == "done"
    desk.assert_whole(run, 120)
