"""A deployment for applications is called serving only when it has answered.

One short question goes through it, and is kept and booked as all answers are. An evaluation's
deployment needs none: registration asks it the first held-out row.
"""

from __future__ import annotations

import sqlalchemy as sa

from understudy.backend import SupportsInfer
from understudy.costs import ledger
from understudy.engine import jobs, operations
from understudy.engine.answers import Book, list_lost
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.engine.undeploying import PROOF, mark, spec_of
from understudy.errors import BackendError, NotFound, PluginError, Retired, Unavailable
from understudy.infer import LiveAnswerer
from understudy.model import ChatRequest, DeploymentSpec, ModelRef
from understudy.store.schema import deployments

__all__ = ["READY_WITHIN", "prove"]

READY_WITHIN = 900.0
"""Seconds in which a new deployment may still say that it is not there."""
_QUESTION = "Answer with one word: are you there?"
_LONGEST = 16
"""Tokens of the answer at most."""


def prove(engine: Engine, op: Operation, serves_as: str) -> None:
    """Ask the deployment that ``op`` started one question, unless it has answered before.

    Args:
        engine: the engine.
        op: a ``deploy`` operation of a deployment that the provider calls ready.
        serves_as: what to ask for.

    Raises:
        Unavailable: it is new, and says that it is not there; it is to be asked again.
        BackendError: it does not answer.
    """
    with engine.store.read() as tx:
        record = sa.select(deployments).where(deployments.c.operation == op.key)
        row = tx.execute(record).mappings().one()
    if row["answered_at"] is not None:
        return
    since = _open(engine, op, row["serving_at"])
    try:
        _ask(engine, op, serves_as)
    except (NotFound, Retired) as error:
        name = spec_of(op).name
        if engine.now() - since > READY_WITHIN:
            raise NotFound(
                f"deployment {name} does not answer although it is ready: {error}. Stop it, "
                "and start it again."
            ) from None
        raise Unavailable(f"deployment {name} does not answer yet: {error}") from None


def _open(engine: Engine, op: Operation, since: float | None) -> float:
    """Open the account that pays, list what an earlier try lost; since when it is ready."""
    assert op.job_id is not None
    now = engine.now()
    with engine.store.write() as tx:
        operations.guard(tx, op)
        job = jobs.get(tx, op.job_id)
        ledger.reserve(
            tx,
            budget=job.budget,
            operation=op.key,
            job_id=op.job_id,
            kind=PROOF,
            nanos=0,
            at=now,
        )
        list_lost(tx, op.key)
        mark(tx, op.key, serving_at=since or now)
    return since or now


def _ask(engine: Engine, op: Operation, serves_as: str) -> None:
    backend = engine.backends.backend(op.backend)
    spec = spec_of(op)
    if not isinstance(backend, SupportsInfer):
        raise PluginError(f"{op.backend} deployed {spec.name} but cannot ask it anything")
    book = Book(
        engine,
        op,
        ref=_ref(op, spec),
        account=op.key,
        max_output_tokens=_LONGEST,
        sku=spec.sku,
        fresh=True,
        deployment=op.key,
        kind=PROOF,
    )
    request = ChatRequest(
        model=serves_as,
        messages=({"role": "user", "content": _QUESTION},),
        sampling={"max_tokens": _LONGEST},
    )
    timeout = engine.timing.answer_timeout
    (answer,) = LiveAnswerer(backend, book, concurrency=1, timeout=timeout).answer([request])
    if answer.reply is None:
        raise BackendError(f"deployment {spec.name} does not answer: {answer.problem}")


def _ref(op: Operation, spec: DeploymentSpec) -> ModelRef:
    return ModelRef(backend=op.backend, id=spec.model, base_model=spec.base_model)
