"""The sandbox's fault script, line by line, through the whole engine."""

from __future__ import annotations

import pytest
from fault_kit import CREATE, Bench

from understudy.costs import ledger
from understudy.engine import commands
from understudy.errors import Retired
from understudy.pipeline import start_run

RETRIEVE = "fine_tuning.jobs.retrieve"
CHAT = "chat.completions.create"


def test_without_faults(bench: Bench) -> None:
    job = bench.start()
    assert bench.run_to(job) == "ready"
    bench.assert_paid_once()


@pytest.mark.parametrize(
    "fault",
    [
        {"do": "error_after", "status": 500},
        {"do": "drop_after"},
        {"do": "truncate"},
        {"do": "garbled_body"},
    ],
    ids=lambda rule: rule["do"],
)
def test_a_create_whose_reply_is_lost_makes_one_job(bench: Bench, fault: dict[str, object]) -> None:
    bench.faults({"on": CREATE, **fault})
    job = bench.start()
    assert bench.run_to(job) == "ready"
    assert bench.fired() == [1]
    bench.assert_paid_once()
    assert any("found again" in event.cause for event in bench.history(job))


@pytest.mark.parametrize(
    "fault", [{"do": "error", "status": 500}, {"do": "drop"}], ids=lambda rule: rule["do"]
)
def test_a_create_that_took_no_effect_is_sent_again_once_that_is_sure(
    bench: Bench, fault: dict[str, object]
) -> None:
    bench.faults({"on": CREATE, **fault})
    job = bench.start()
    bench.drain()
    begun = bench.provider.clock.now()
    while bench.op(job).attempt == 1:
        assert bench.step_to_next()
    # Send window 30 s, request timeout 60 s, list lag 30 s.
    assert bench.provider.clock.now() - begun > 120
    assert bench.run_to(job) == "ready"
    bench.assert_paid_once()


def test_a_lost_reply_and_a_list_that_lags_30_s_make_one_job(bench: Bench) -> None:
    bench.faults(
        {"on": CREATE, "do": "list_lag", "seconds": 30}, {"on": CREATE, "do": "drop_after"}
    )
    job = bench.start()
    assert bench.run_to(job) == "ready"
    assert bench.fired() == [1, 1]
    bench.assert_paid_once()


@pytest.mark.parametrize("seconds", [5, 600])
@pytest.mark.parametrize("on", [CREATE, RETRIEVE, CHAT, "files.create"])
def test_retry_after_is_obeyed(bench: Bench, on: str, seconds: int) -> None:
    rule = {"on": on, "do": "error", "status": 429, "retry_after": seconds}
    bench.faults({**rule, "code": "slow_down"})
    job = bench.start()
    bench.drain()
    while not sum(bench.fired()):
        assert bench.step_to_next()
    before = bench.provider.requests(on)
    bench.provider.advance(seconds - 0.01)
    bench.drain()
    assert bench.provider.requests(on) == before
    bench.provider.advance(0.02)
    bench.drain()
    assert bench.provider.requests(on) > before
    assert bench.run_to(job) == "ready"
    bench.assert_paid_once()


@pytest.mark.parametrize("kind", ["truncate", "garbled_body", "drop", "drop_after", "error"])
@pytest.mark.parametrize("on", [RETRIEVE, "files.retrieve", "files.create"])
def test_a_broken_reply_to_a_free_request_is_asked_for_again(
    bench: Bench, on: str, kind: str
) -> None:
    bench.faults({"on": on, "do": kind, "times": 2})
    job = bench.start()
    assert bench.run_to(job) == "ready"
    assert bench.fired() == [2]
    bench.assert_paid_once()
    assert "needs_attention" not in [event.to_state for event in bench.history(job)]


def test_an_unknown_status_is_survived_and_told_once(bench: Bench) -> None:
    bench.faults({"on": RETRIEVE, "do": "status", "value": "polishing", "times": 3})
    job = bench.start()
    assert bench.run_to(job) == "ready"
    assert bench.fired() == [3]
    notes = [event for event in bench.history(job) if event.event == "unknown_status"]
    assert len(notes) == 1
    assert "'polishing'" in notes[0].cause
    bench.assert_paid_once()


def test_a_job_cancelled_at_the_provider_is_never_called_failed(bench: Bench) -> None:
    bench.faults({"on": CREATE, "do": "cancel_job", "at": 0.5})
    job = bench.start()
    assert bench.run_to(job) == "cancelled"
    assert "failed" not in [event.to_state for event in bench.history(job)]
    bench.assert_paid_once()
    assert bench.spent() > 0


def test_our_own_cancel_is_never_called_failed(bench: Bench) -> None:
    job = bench.start()
    bench.run_to(job, "running")
    commands.cancel(bench.engine, job)
    assert bench.run_to(job) == "cancelled"
    assert "failed" not in [event.to_state for event in bench.history(job)]
    bench.assert_paid_once()


def test_pause_and_resume(bench: Bench) -> None:
    job = bench.start()
    bench.run_to(job, "running")
    commands.pause(bench.engine, job)
    bench.run_to(job, "paused")
    bench.provider.advance(5000)
    bench.drain()
    assert bench.state(job) == "paused"
    commands.resume(bench.engine, job)
    assert bench.run_to(job) == "ready"
    bench.assert_paid_once()


def test_a_key_that_expires_in_mid_run_needs_attention_and_retry_finishes(bench: Bench) -> None:
    job = bench.start()
    bench.run_to(job, "running")
    bench.faults({"on": RETRIEVE, "do": "expire_key"})
    assert bench.run_to(job) == "needs_attention"
    record = bench.job(job)
    assert record.stage is not None
    assert record.stage.value == "running"
    bench.provider.advance(3600)
    bench.sandbox.key(expired=False)
    commands.retry(bench.engine, job)
    assert bench.run_to(job) == "ready"
    assert "failed" not in [event.to_state for event in bench.history(job)]
    bench.assert_paid_once()


def test_a_used_up_quota_asks_a_person_and_goes_on(bench: Bench) -> None:
    bench.faults({"on": CREATE, "do": "quota"})
    job = bench.start()
    assert bench.run_to(job) == "needs_attention"
    assert "quota" in str(bench.job(job).problem)
    assert bench.made() == {}
    commands.retry(bench.engine, job)
    assert bench.run_to(job) == "ready"
    bench.assert_paid_once()


def test_an_organisation_that_may_not_train_fails_before_money(bench: Bench) -> None:
    bench.faults({"on": CREATE, "do": "not_eligible"})
    job = bench.start()
    assert bench.run_to(job) == "failed"
    words = str(bench.job(job).problem)
    assert "not eligible" in words
    assert bench.made() == {}
    assert (bench.spent(), bench.reserved()) == (0, 0)
    assert bench.history(job)[-1].event == "refused"


def test_the_providers_limit_on_running_jobs_is_waiting(bench: Bench) -> None:
    bench.faults({"on": CREATE, "do": "too_many_jobs", "times": 4})
    job = bench.start()
    assert bench.run_to(job) == "ready"
    assert bench.fired() == [4]
    assert "needs_attention" not in [event.to_state for event in bench.history(job)]
    bench.assert_paid_once()


def test_a_job_that_fails_at_the_provider_keeps_its_reason(bench: Bench) -> None:
    bench.faults({"on": CREATE, "do": "fail_job", "at": 0.3})
    job = bench.start()
    assert bench.run_to(job) == "failed"
    problem = bench.job(job).problem
    assert problem is not None
    assert problem["code"] == "unsafe_file"
    assert "unsafe content" in problem["message"]
    bench.assert_paid_once()


def test_a_base_model_that_is_retired_before_the_create_fails_before_money(bench: Bench) -> None:
    model = "gpt-4.1-mini-2025-04-14"
    job = bench.start(train={"base_model": model})
    bench.faults({"on": "files.create", "do": "retire", "model": model})
    assert bench.run_to(job) == "failed"
    assert model in str(bench.job(job).problem)
    assert bench.made() == {}
    assert (bench.spent(), bench.reserved()) == (0, 0)
    with pytest.raises(Retired, match=model):
        start_run(
            bench.project, bench.engine, bench.prepare(train={"base_model": model}), again=True
        )


@pytest.mark.parametrize("kind", ["error", "drop"])
def test_an_answer_that_never_came_about_costs_nothing(bench: Bench, kind: str) -> None:
    bench.faults({"on": CHAT, "do": kind, "times": 2})
    job = bench.start()
    assert bench.run_to(job) == "ready"
    assert bench.fired() == [2]
    assert len(bench.made()) == 1
    assert bench.spent() <= bench.billed()


@pytest.mark.parametrize("kind", ["drop_after", "truncate", "garbled_body", "error_after"])
def test_an_answer_that_was_billed_and_lost_is_listed(bench: Bench, kind: str) -> None:
    bench.faults({"on": CHAT, "do": kind})
    job = bench.start()
    assert bench.run_to(job) == "ready"
    with bench.project.store.read() as tx:
        listed = ledger.possible_repayments(tx, job_id=job)
    twice = bench.billed() - bench.spent()
    assert twice > 0
    assert len(listed) >= 1
    assert twice <= sum(line["at_most_usd"] for line in listed)
