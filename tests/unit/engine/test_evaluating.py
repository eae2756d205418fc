"""Evaluation: who is asked, what is asked again, what is listed as paid twice."""

from __future__ import annotations

import pytest
from engine_kit import Crash, World, crash_at

from understudy.costs import ledger
from understudy.data import Dataset
from understudy.engine.answers import Book
from understudy.store import registry, schema
from understudy.testing.fakes import FakeConnectionError, FakeHTTPError


def kill(world: World, label: str, job: str) -> None:
    """Drive the job with workers that die once at ``label``."""
    world.worker = world.make_worker("dies", crash_at(label))
    with pytest.raises(Crash):
        world.run_to(job)
    world.worker = world.make_worker("w2")


def subjects(world: World, model: str) -> dict[str, tuple[float, int, int]]:
    return {
        one.subject: (one.interval.mean, one.answered, one.failed)
        for one in world.report(model).subjects
    }


def test_base_and_present_model_are_asked_the_same_rows(world: World) -> None:
    world.run_to(world.submit())
    second = world.submit(evaluation={"compare_base": True})
    assert world.run_to(second) == "ready"
    assert subjects(world, "triage@2") == {
        "student": (1.0, 4, 0),
        "base": (0.0, 4, 0),
        "present": (1.0, 4, 0),
    }
    report = world.report("triage@2")
    assert report.against is not None
    assert report.against.mean == 0
    with world.store.read() as tx:
        assert registry.alias_target(tx, "live") == "triage@2"


def test_a_student_worse_than_the_present_model_does_not_take_its_place(world: World) -> None:
    world.run_to(world.submit(evaluation={"max_rows": 12}))

    def answer(model: str, question: str) -> str:
        if model.endswith(":job-1"):
            return question.replace("question", "answer")
        return "wrong"

    world.provider.answer = answer
    second = world.submit(evaluation={"bar": 0.0, "margin": 0.02, "max_rows": 12})
    assert world.run_to(second) == "rejected"
    with world.store.read() as tx:
        assert registry.alias_target(tx, "live") == "triage@1"


def test_an_alias_that_moved_meanwhile_is_compared_with_again(world: World) -> None:
    assert world.run_to(world.submit(alias="other")) == "ready"
    assert world.run_to(world.submit()) == "ready"
    third = world.submit()
    moved: list[str] = []

    def reach(label: str) -> None:
        if label == "evaluate.scored" and not moved:
            moved.append(label)
            with world.store.write() as tx:
                registry.move_alias(tx, alias="live", model_id="triage@1", cause="x", at=1.0)

    world.worker = world.make_worker("w", reach)
    assert world.run_to(third) == "ready"
    compared = {one.subject: one.model for one in world.report("triage@3").subjects}
    with world.store.read() as tx:
        assert compared["present"] == registry.get_model(tx, "triage@1").model
        moves = registry.alias_moves(tx, "live")
    assert [(one.from_model, one.to_model) for one in moves[:2]] == [
        ("triage@1", "triage@3"),
        ("triage@2", "triage@1"),
    ]


def test_verdict_alias_and_state_are_one_transaction(world: World) -> None:
    job = world.submit()
    move = registry.move_alias
    with pytest.MonkeyPatch.context() as patch:

        def dies(*args: object, **kwargs: object) -> None:
            move(*args, **kwargs)  # type: ignore[arg-type]
            raise Crash

        patch.setattr(registry, "move_alias", dies)
        with pytest.raises(Crash):
            world.run_to(job)
    with world.store.read() as tx:
        assert registry.alias_target(tx, "live") is None
        assert registry.history(tx, "triage@1") == []
    assert world.state(job) == "evaluating"
    assert world.run_to(job) == "ready"
    assert len(world.rows(schema.evaluations)) == 1
    assert len(world.rows(schema.alias_moves)) == 1


def test_rows_that_were_refused_count_as_zero(world: World) -> None:
    def answer(model: str, question: str) -> str:
        if question == refused[0]:
            raise FakeHTTPError(400, "content filter")
        return question.replace("question", "answer")

    refused = [next(iter(world.dataset.examples("test"))).messages[-1]["content"]]
    world.provider.answer = answer
    job = world.submit(evaluation={"bar": 0.1})
    world.worker = world.make_worker("w")
    # The model must answer the first row before it is registered.
    assert world.run_to(job) == "needs_attention"
    refused[0] = list(world.dataset.examples("test"))[2].messages[-1]["content"]
    from understudy.engine import commands

    commands.retry(world.engine, job)
    world.run_to(job)
    assert subjects(world, "triage@1") == {"student": (0.75, 3, 1)}
    assert world.spent() == world.provider.bill_nanos


def test_a_base_model_that_is_gone_is_left_out(world: World) -> None:
    def answer(model: str, question: str) -> str:
        if not model.startswith("ft:"):
            raise FakeHTTPError(404, "gone")
        return question.replace("question", "answer")

    world.provider.answer = answer
    job = world.submit(evaluation={"compare_base": True})
    assert world.run_to(job) == "ready"
    assert list(subjects(world, "triage@1")) == ["student"]


@pytest.mark.parametrize(
    "label",
    [
        "register.start",
        "register.probed",
        "register.stored",
        "evaluate.start",
        "evaluate.answered",
        "evaluate.scored",
        "evaluate.stored",
    ],
)
def test_a_crash_asks_no_known_question_again(world: World, label: str) -> None:
    job = world.submit(evaluation={"compare_base": True})
    kill(world, label, job)
    assert world.run_to(job) == "ready"
    assert len(world.provider.asked) == len(set(world.provider.asked)) == 8
    assert world.spent() == world.provider.bill_nanos
    assert world.rows(schema.repaid) == []
    assert len(world.rows(schema.models)) == 1


@pytest.mark.parametrize("during", ["registering", "evaluating"])
def test_answers_lost_in_a_crash_are_listed(world: World, during: str) -> None:
    job = world.submit(evaluation={"max_rows": 8, "concurrency": 2})
    answered = Book.answered
    asked_before = len(world.provider.asked)
    with pytest.MonkeyPatch.context() as patch:

        def dies(self: Book, *args: object) -> None:
            if self._op.kind == ("register" if during == "registering" else "evaluate"):
                raise Crash
            answered(self, *args)  # type: ignore[arg-type]

        patch.setattr(Book, "answered", dies)
        with pytest.raises(Crash):
            world.run_to(job)
    lost = world.provider.asked[asked_before:] if during == "registering" else None
    assert world.run_to(job) == "ready"
    with world.store.read() as tx:
        listed = ledger.possible_repayments(tx, job_id=job)
    assert 1 <= len(listed) <= 2
    assert lost is None or len(lost) >= 1
    twice = world.provider.bill_nanos - world.spent()
    assert twice > 0
    assert twice <= sum(row["at_most_nanos"] for row in world.rows(schema.repaid))
    assert world.rows(schema.asked) == []


def test_a_doubtful_answer_is_listed_and_asked_again(world: World) -> None:
    job = world.submit()
    world.run_to(job, "running")
    world.clock.advance(100)
    chat, cut = world.provider.chat, []

    def loses(api_key: str, body: dict[str, object]) -> dict[str, object]:
        reply = chat(api_key, body)
        if not cut:
            cut.append(reply)
            raise FakeConnectionError("cut after it was billed")
        return reply

    world.provider.chat = loses  # type: ignore[method-assign,assignment]
    assert world.run_to(job) == "ready"
    assert world.provider.bill_nanos > world.spent()
    assert len(world.rows(schema.repaid)) == 1


def test_the_dataset_may_have_moved_with_the_data_root(world: World, dataset: Dataset) -> None:
    job = world.submit(dataset=dataset.path.name)
    assert world.run_to(job) == "ready"
