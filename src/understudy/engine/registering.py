"""Registration: the model is there and answers; only then is it a model version."""

from __future__ import annotations

from dataclasses import asdict, replace

from understudy.backend import SupportsInfer
from understudy.engine import deploying, exporting, jobs, operations
from understudy.engine.context import Engine
from understudy.engine.evaluating import Subject, answers_of, list_lost, test_rows
from understudy.engine.operations import Operation
from understudy.errors import BackendError, NotFound, PluginError, Retired
from understudy.model import Handle, Json, ModelExport
from understudy.states import Event
from understudy.store import registry

__all__ = ["lineage", "step"]


def step(engine: Engine, op: Operation) -> None:
    """Find the model, ask it one question of the test rows, register it."""
    assert op.job_id is not None
    engine.reach("register.start")
    backend = engine.backends.backend(op.backend)
    with engine.store.read() as tx:
        job = jobs.get(tx, op.job_id)
    ref = backend.model(Handle(**op.payload["handle"]))
    if not isinstance(backend, SupportsInfer):
        raise PluginError(
            f"{op.backend} trained {ref.id} but cannot answer, so it cannot be evaluated; "
            "register it through a backend that serves it"
        )
    exported = None
    if engine.backends.capabilities(op.backend).export.ok:
        exported = exporting.proven(engine, op, job, ref)
        if exported is None:
            return
        ref = replace(ref, id=exported.model)
    serving = deploying.names(engine, op, job, [ref])
    if serving is None:
        return
    list_lost(engine, op, job)
    subject = Subject(name="student", ref=ref, serving=serving[ref.id])
    _probe(engine, op, job, subject)
    engine.reach("register.probed")
    _register(engine, op, job, subject, exported)
    engine.reach("register.stored")


def _register(
    engine: Engine,
    op: Operation,
    job: jobs.JobRecord,
    subject: Subject,
    exported: ModelExport | None,
) -> None:
    """One transaction: the model version, the intent to evaluate it, the job's step on."""
    now = engine.now()
    ref = subject.ref
    with engine.store.write() as tx:
        operations.save(tx, op, at=now, status="done", due_at=None)
        version = registry.register(
            tx,
            name=job.name,
            ref=ref,
            source=op.payload.get("source", op.key),
            lineage=lineage(job, op.payload["handle"], exported),
            at=now,
        )
        operations.insert(
            tx,
            key=f"{job.id}.evaluate.1",
            kind="evaluate",
            backend=op.backend,
            at=now,
            job_id=job.id,
            payload={"model": version.id},
        )
        jobs.apply(
            tx,
            job.id,
            Event.REGISTERED,
            at=now,
            cause=f"registered as {version.id}",
            fields={"model": ref.id, "owner": ref.owner},
            worker=engine.worker,
            model_id=version.id,
        )


def _probe(engine: Engine, op: Operation, job: jobs.JobRecord, subject: Subject) -> None:
    """The first question of the evaluation: the answer is kept, so it is not paid for twice."""
    first = test_rows(engine, job)[:1]
    # A deployment must be seen to answer, also where the model's answer is known already.
    fresh = not subject.serving.proven
    try:
        for answer in answers_of(engine, op, job, subject, first, fresh=fresh):
            if answer.reply is None:
                raise BackendError(f"{subject.ref.id} does not answer: {answer.problem}")
    except (NotFound, Retired) as error:
        deploying.lost(engine, job, subject.serving, error)
        raise BackendError(f"{subject.ref.id} does not answer: {error}") from None


def lineage(
    job: jobs.JobRecord, handle: Json, exported: ModelExport | None = None
) -> dict[str, object]:
    """Where a model version comes from: enough to train it again somewhere else.

    Where it is files, they are named with their sha256 and what was measured of them.
    """
    spec = job.plan.spec
    return {
        "job": job.id,
        "backend": job.backend,
        "dataset": job.dataset_id,
        "training_sha256": spec.training.sha256,
        "base_model": spec.base_model,
        "method": spec.method,
        "hyperparameters": dict(spec.hyperparameters),
        "handle": handle,
        "recipe": job.plan.recipe,
        **({} if exported is None else {"export": asdict(exported)}),
    }
