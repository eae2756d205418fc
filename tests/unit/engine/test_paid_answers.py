"""Answers that were paid for are kept, and none is asked for without money."""

from __future__ import annotations

import threading

import sqlalchemy as sa
from engine_kit import TUNED_IN, TUNED_OUT, World

from understudy.engine import commands
from understudy.model import ChatReply, ChatRequest
from understudy.store import schema
from understudy.testing.fakes import FakeHTTPError


def test_an_unforeseen_error_does_not_lose_the_other_answers(world: World) -> None:
    job = world.submit(evaluation={"concurrency": 4, "max_rows": 4})
    complete, calls = world.backend.complete, []
    taken_in = threading.Event()

    def reach(label: str) -> None:
        if label == "evaluate.answered" and len(calls) > 1:
            taken_in.set()

    def odd(request: ChatRequest, *, timeout: float) -> ChatReply:
        calls.append(request)
        if len(calls) == 2:
            raise KeyError("usage")
        if 2 < len(calls) < 5:
            assert taken_in.wait(20)  # still under way when the odd one has come back
        return complete(request, timeout=timeout)

    world.backend.complete = odd  # type: ignore[method-assign]
    world.worker = world.make_worker("w", reach)
    assert world.run_to(job) == "ready"
    assert len(world.provider.asked) == 4
    assert world.spent() == world.provider.bill_nanos
    assert len(world.rows(schema.repaid)) == 1


def test_a_model_that_took_the_alias_since_is_not_asked_beyond_the_budget(world: World) -> None:
    longest = 512
    one = 30 * TUNED_IN + longest * TUNED_OUT
    world.run_to(world.submit(evaluation={"max_output_tokens": 100}))
    # Estimated as if the alias pointed nowhere: for the student's answers alone.
    job = world.submit(evaluation={"max_output_tokens": longest}, evaluate_at_most=4 * one)
    world.provider.answer = lambda _model, _question: " ".join(["x"] * longest)
    world.run_to(job, "running")
    used = schema.budgets.c.spent_nanos + schema.budgets.c.reserved_nanos
    with world.store.write() as tx:
        tx.execute(sa.update(schema.budgets).values(limit_nanos=used))
    assert world.run_to(job) == "needs_attention"
    assert "budget 'b'" in str(world.job(job).problem)
    (budget,) = world.rows(schema.budgets)
    assert budget["spent_nanos"] + budget["reserved_nanos"] <= budget["limit_nanos"]
    world.budget(10**12)
    commands.retry(world.engine, job)
    assert world.run_to(job) == "rejected"
    assert world.spent() == world.provider.bill_nanos
    assert world.reserved() == 0


def test_a_student_that_may_not_be_asked_is_not_rejected_for_it(world: World) -> None:
    job = world.submit()
    answer = world.provider.answer

    def refuse(_model: str, _question: str) -> str:
        raise FakeHTTPError(403, "no")

    def reach(label: str) -> None:
        if label == "evaluate.start":
            world.provider.answer = refuse

    world.worker = world.make_worker("w", reach)
    assert world.run_to(job) == "needs_attention"
    world.provider.answer = answer
    world.worker = world.make_worker("w2")
    commands.retry(world.engine, job)
    assert world.run_to(job) == "ready"
    assert world.spent() == world.provider.bill_nanos
