"""Where a model cannot be asked by batch: the live endpoint, at a rate, the same account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from batch_kit import Desk, questions
from engine_kit import Crash

from understudy.backend import Backend
from understudy.batch import cancel, estimate, retry, start
from understudy.errors import ConfigError, NotEligible
from understudy.model import BatchLimits

LIVE = {"via": "live", "requests_per_minute": 600, "concurrency": 2}


@pytest.fixture
def shy(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A backend that batches no model of ours, as Azure does with fine-tunes."""
    backend: Backend = desk.project.backend("openai")

    def refuse(model: str) -> BatchLimits:
        raise NotEligible(f"{model} is a fine-tune, which Azure does not batch.")

    monkeypatch.setattr(backend, "batch_limits", refuse)
    return desk


def test_the_plan_offers_it_and_says_what_it_costs(shy: Desk) -> None:
    recipe = shy.recipe(shy.rows(questions(60)), batch={"requests_per_minute": 600})
    plan = shy.plan(recipe)
    figures = estimate(shy.engine, plan)
    assert plan.way.via == "live"
    assert figures.expected == figures.live
    assert figures.hours_at_most == pytest.approx(60 / 600 / 60)
    assert "Azure does not batch" in figures.notes[0]
    assert 'via = "live"' in figures.notes[0]
    with pytest.raises(NotEligible, match='via = "live"'):
        start(shy.engine, plan)
    with pytest.raises(NotEligible):
        shy.plan(shy.recipe(shy.folder / "rows.jsonl", batch={"via": "batch"}))
    with pytest.raises(ConfigError, match="needs requests_per_minute"):
        shy.plan(shy.recipe(shy.folder / "rows.jsonl", batch={"via": "live"}))


def test_it_asks_at_the_rate_and_publishes(shy: Desk) -> None:
    run = shy.begin(100, batch=LIVE)
    began = shy.provider.clock.now()
    report = shy.run_to(run)
    assert report.run.state == "done"
    assert shy.batches() == []
    # 600 a minute, in parts of 32: the last part of each shard is not waited for.
    assert shy.provider.clock.now() - began >= 3
    shy.assert_whole(run)


def test_a_refused_question_is_kept_apart(shy: Desk) -> None:
    rule = {"on": "chat.completions.create", "do": "error", "status": 400, "code": "content_filter"}
    shy.faults({**rule, "times": 1})
    run = shy.begin(20, batch=LIVE)
    report = shy.run_to(run)
    assert (report.account.answered, report.account.refused) == (19, 1)
    shy.assert_paid()


def test_cancelled_it_keeps_what_was_answered(shy: Desk) -> None:
    run = shy.begin(100, batch={**LIVE, "requests_a_batch": 100})
    shy.worker.drain()
    shy.step_to_next()
    before = shy.billed()
    assert before > 0
    cancel(shy.engine, run.id)
    assert shy.run_to(run).run.state == "cancelled"
    assert shy.reserved() == 0
    retry(shy.engine, run.id)
    assert shy.run_to(run).run.state == "done"
    shy.assert_whole(run)


def test_killed_it_asks_no_answered_question_again(
    make_desk: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [3]

    def reach(label: str) -> None:
        if label == "evaluate.answered":
            left[0] -= 1
            if left[0] == 0:
                raise Crash(label)

    dies: Desk = make_desk(reach=reach)
    run = dies.begin(60, batch=LIVE)
    with pytest.raises(Crash):
        dies.run_to(run)
    lives: Desk = make_desk()
    lives.billed_before = dies.billed_before
    lives.provider.advance(lives.engine.timing.lease + 1)
    assert lives.run_to(run).run.state == "done"
    account = lives.report(run).account
    assert (account.answered, account.to_do) == (60, 0)
    # What was out at the kill may be paid twice: at most as many as run at once.
    assert lives.spent() <= lives.billed() <= lives.spent() * 63 / 60
