"""Evaluation on the held-out rows: student, base model, the alias's present model, the labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.backend import SupportsInfer
from understudy.costs import ledger
from understudy.data import TestRow, answer_text, load_dataset
from understudy.engine import asking, deploying, jobs, operations, undeploying
from understudy.engine.answers import Book
from understudy.engine.context import Engine
from understudy.engine.deploying import Serving
from understudy.engine.operations import Operation
from understudy.errors import (
    AnswersPending,
    NotEligible,
    NotFound,
    PluginError,
    Retired,
    StaleRecord,
    Unavailable,
)
from understudy.evaluate import (
    EvaluationReport,
    Interval,
    SubjectScore,
    judge,
    mean_interval,
    paired_difference,
)
from understudy.infer import Answer
from understudy.model import ChatRequest, ModelRef
from understudy.states import Event
from understudy.store import registry

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["Subject", "answers_of", "list_lost", "step", "test_rows"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """Who is judged: ``student``, ``base`` or ``present``; ``serving`` is what to ask."""

    name: str
    ref: ModelRef
    serving: Serving


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scored:
    subject: Subject
    scores: tuple[float, ...]
    failed: int


def test_rows(engine: Engine, job: jobs.JobRecord) -> Sequence[TestRow]:
    """The held-out rows, the first ``max_rows`` of them where the recipe says so."""
    path = Path(job.plan.dataset)
    folder = path if path.is_absolute() else engine.data_root / path
    return list(islice(load_dataset(folder).examples("test"), job.plan.evaluation.max_rows))


def step(engine: Engine, op: Operation) -> None:
    """Ask, score, compare, and store report, verdict and alias in one transaction."""
    assert op.job_id is not None
    engine.reach("evaluate.start")
    with engine.store.read() as tx:
        job = jobs.get(tx, op.job_id)
        student = registry.get_model(tx, op.payload["model"])
        target = registry.alias_target(tx, job.plan.alias) if job.plan.alias else None
        present = registry.get_model(tx, target) if target not in {None, student.id} else None
    judged = [one.ref for one in (student, present) if one is not None]
    serving = deploying.names(engine, op, job, judged)
    if serving is None:
        return
    list_lost(engine, op, job)
    rows = test_rows(engine, job)
    scored = _scores(engine, op, job, _subjects(engine, job, student, present, serving), rows)
    if scored is None:
        return
    engine.reach("evaluate.scored")
    report = _report(engine, job, rows, scored)
    now = engine.now()
    with engine.store.write() as tx:
        operations.save(tx, op, at=now, status="done", due_at=None)
        _store(tx, engine, op, job, student, report, target=target)
    engine.reach("evaluate.stored")


def _scores(
    engine: Engine,
    op: Operation,
    job: jobs.JobRecord,
    subjects: Iterable[Subject],
    rows: Sequence[TestRow],
) -> list[_Scored] | None:
    """Every subject's score; None where answers are under way, and ``op`` waits for them."""
    scored: list[_Scored] = []
    pending = False
    for subject in subjects:
        try:
            one = _score(engine, op, job, subject, rows)
        except AnswersPending:
            pending = True  # the next subject's questions go out all the same
            continue
        if one is not None:
            scored.append(one)
    if not pending:
        return scored
    now = engine.now()
    with engine.store.write() as tx:
        operations.save(tx, op, at=now, due_at=now + engine.timing.poll_longest, failures=0)
    return None


def list_lost(engine: Engine, op: Operation, job: jobs.JobRecord) -> None:
    """List what an earlier attempt asked without seeing the answer."""
    nobody = ModelRef(backend=op.backend, id="", base_model="")
    _book(engine, op, job, nobody, Serving(name="")).list_lost()


def _subjects(
    engine: Engine,
    job: jobs.JobRecord,
    student: registry.ModelVersion,
    present: registry.ModelVersion | None,
    serving: Mapping[str, Serving],
) -> Iterator[Subject]:
    yield Subject(name="student", ref=student.ref, serving=serving[student.model])
    # Where models answer through deployments alone, the base model has none of its own here.
    deploys = engine.backends.capabilities(student.backend).deploy.ok
    if job.plan.evaluation.compare_base and not deploys:
        base = ModelRef(
            backend=student.backend, id=student.base_model, base_model=student.base_model
        )
        yield Subject(name="base", ref=base, serving=Serving(name=base.id))
    if present is not None:
        yield Subject(name="present", ref=present.ref, serving=serving[present.model])


def _score(
    engine: Engine, op: Operation, job: jobs.JobRecord, subject: Subject, rows: Sequence[TestRow]
) -> _Scored | None:
    scorer = engine.backends.scorer(job.plan.evaluation.scorer)
    scores: list[float] = []
    failed = 0
    answered = answers_of(engine, op, job, subject, rows)
    try:
        for row, answer in zip(rows, answered, strict=True):
            failed += answer.reply is None
            text = "" if answer.reply is None else _text(answer)
            scores.append(0.0 if answer.reply is None else scorer(text, row.expected))
            engine.notify(job.id, f"evaluate {subject.name}", len(scores), len(rows))
    except (NotEligible, NotFound, Retired) as error:
        deploying.lost(engine, job, subject.serving, error)
        if subject.name == "student":
            raise
        return None  # a base or present model that is gone cannot be compared with
    if failed == len(rows) and subject.name != "student":
        return None
    return _Scored(subject=subject, scores=tuple(scores), failed=failed)


def _text(answer: Answer) -> str:
    """What is scored: the content, or the tool calls as the dataset writes them."""
    assert answer.reply is not None
    return answer_text(answer.reply.message)


def answers_of(
    engine: Engine,
    op: Operation,
    job: jobs.JobRecord,
    subject: Subject,
    rows: Sequence[TestRow],
    *,
    fresh: bool = False,
) -> Iterator[Answer]:
    """One answer a row, in order; ``fresh``: asked although the answer is known."""
    backend = engine.backends.backend(subject.ref.backend)
    if not isinstance(backend, SupportsInfer):
        raise PluginError(f"{subject.ref.backend} cannot answer, so {subject.ref.id} is unjudged")
    plan = job.plan.evaluation
    book = _book(engine, op, job, subject.ref, subject.serving, fresh=fresh)
    answerer = asking.answerer(engine, op, job, subject.ref, backend, book, live=fresh)
    sampling = {**plan.sampling, "max_tokens": plan.max_output_tokens}
    return answerer.answer(
        [
            ChatRequest(
                model=subject.serving.name,
                messages=row.messages,
                tools=row.tools,
                response_format=plan.response_format,
                sampling=sampling,
            )
            for row in rows
        ]
    )


def _book(
    engine: Engine,
    op: Operation,
    job: jobs.JobRecord,
    ref: ModelRef,
    serving: Serving,
    *,
    fresh: bool = False,
) -> Book:
    return Book(
        engine,
        op,
        ref=ref,
        sku=serving.sku,
        deployment=serving.operation,
        account=f"{job.id}.evaluate.1",
        max_output_tokens=job.plan.evaluation.max_output_tokens,
        fresh=fresh,
    )


def _report(
    engine: Engine, job: jobs.JobRecord, rows: Sequence[TestRow], scored: Sequence[_Scored]
) -> EvaluationReport:
    plan = job.plan.evaluation
    by_name = {one.subject.name: one for one in scored}
    student = mean_interval(by_name["student"].scores, plan.confidence)
    against: Interval | None = None
    if "present" in by_name:
        against = paired_difference(
            by_name["student"].scores, by_name["present"].scores, plan.confidence
        )
    subjects = [_subject_score(one, plan.confidence) for one in scored]
    labels = _labels(engine, job, rows)
    return EvaluationReport(
        dataset_id=job.dataset_id,
        scorer=plan.scorer,
        rows=len(rows),
        subjects=(*subjects, *labels),
        against=against,
        verdict=judge(student=student, bar=plan.bar, against=against, margin=plan.margin),
    )


def _subject_score(one: _Scored, confidence: float) -> SubjectScore:
    return SubjectScore(
        subject=one.subject.name,
        model=one.subject.ref.id,
        interval=mean_interval(one.scores, confidence),
        answered=len(one.scores) - one.failed,
        failed=one.failed,
    )


def _labels(
    engine: Engine, job: jobs.JobRecord, rows: Sequence[TestRow]
) -> tuple[SubjectScore, ...]:
    """How good the teacher's labels are, over the rows where a better answer is known."""
    scorer = engine.backends.scorer(job.plan.evaluation.scorer)
    scores = [scorer(row.label, row.reference) for row in rows if row.reference is not None]
    if not scores:
        return ()
    return (
        SubjectScore(
            subject="teacher labels",
            model=None,
            interval=mean_interval(scores, job.plan.evaluation.confidence),
            answered=len(scores),
            failed=0,
        ),
    )


def _take_alias(
    tx: sa.Connection,
    job: jobs.JobRecord,
    student: registry.ModelVersion,
    target: str | None,
    now: float,
) -> None:
    assert job.plan.alias is not None
    try:
        registry.move_alias(
            tx,
            alias=job.plan.alias,
            model_id=student.id,
            cause=f"verdict of {job.id}",
            at=now,
            expected=target,
        )
    except StaleRecord as error:
        # The verdict rests on a comparison with a model that is not the present one any more.
        raise Unavailable(f"{error}; the comparison is made again") from None


def _store(  # noqa: PLR0917
    tx: sa.Connection,
    engine: Engine,
    op: Operation,
    job: jobs.JobRecord,
    student: registry.ModelVersion,
    report: EvaluationReport,
    *,
    target: str | None,
) -> None:
    now = engine.now()
    verdict = report.verdict
    registry.add_evaluation(
        tx,
        model_id=student.id,
        operation=op.key,
        dataset_id=job.dataset_id,
        report=report.to_json(),
        passed=verdict.passed,
        reasons=verdict.reasons,
        at=now,
    )
    ledger.settle(tx, operation=op.key, kind="evaluate", at=now)
    undeploying.take_down(tx, engine, job.id)
    if verdict.passed and job.plan.alias:
        _take_alias(tx, job, student, target, now)
    jobs.apply(
        tx,
        job.id,
        Event.PASSED if verdict.passed else Event.FELL_SHORT,
        at=now,
        cause="; ".join(verdict.reasons),
        worker=engine.worker,
    )
