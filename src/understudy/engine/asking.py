"""Which way an evaluation asks: live, or by batch where the recipe says so."""

from __future__ import annotations

from understudy.backend import SupportsInfer
from understudy.engine.answers import Book
from understudy.engine.context import Engine
from understudy.engine.jobs import JobRecord
from understudy.engine.operations import Operation
from understudy.infer import Answerer, LiveAnswerer
from understudy.model import ModelRef

__all__ = ["answerer"]


def answerer(  # noqa: PLR0917 - what either way needs
    engine: Engine,
    op: Operation,
    job: JobRecord,
    ref: ModelRef,
    backend: SupportsInfer,
    book: Book,
    *,
    live: bool = False,
) -> Answerer:
    """Who asks ``ref`` for ``op``; ``live``: in any case by the live endpoint.

    Only an evaluation waits for a batch: whether a model answers at all is asked live.
    """
    plan = job.plan.evaluation
    by_batch = plan.ask == "batch" and op.kind == "evaluate" and not live
    if by_batch and engine.batch_answerer is not None:
        return engine.batch_answerer(
            engine,
            op,
            backend=backend,
            ref=ref,
            book=book,
            account=f"{job.id}.evaluate.1",
            budget=job.budget,
            max_output_tokens=plan.max_output_tokens,
        )
    return LiveAnswerer(
        backend, book, concurrency=plan.concurrency, timeout=engine.timing.answer_timeout
    )
