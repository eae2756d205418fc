"""Exports: a model that is files is registered only when each file was proven to be the model.

The export is started once (see sending.py) when registration asks for it, and polled like any
other work. The backend holds logits against the trained model; here the answers of every file are
scored as the task is, and held against the trained model's own.

A file that does not hold up leaves the job in needs_attention and registers nothing: the training
is paid for, so nothing local leads to failed. A retry makes a new export.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any

import sqlalchemy as sa

from understudy.backend import FindResult, SupportsExport
from understudy.data import Dataset, load_dataset
from understudy.engine import jobs, operations, sending
from understudy.engine.backoff import poll_interval
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.engine.trouble import need_attention
from understudy.errors import BackendError, PluginError
from understudy.evaluate import Interval, mean_interval
from understudy.model import (
    ExportedFile,
    ExportSpec,
    Handle,
    Json,
    ModelExport,
    ModelRef,
    RemoteState,
    RemoteStatus,
)
from understudy.secrets import redact
from understudy.states import TERMINAL, State
from understudy.store import registry

__all__ = ["TRAINED", "proven", "step"]

TRAINED = "trained"
"""What answers before anything was exported."""

_WHAT_NEXT = (
    "nothing was registered. `understudy jobs retry` makes the export anew; if it falls short "
    "again, leave the format out of [export] in the recipe, or serve another one"
)


def proven(engine: Engine, op: Operation, job: jobs.JobRecord, ref: ModelRef) -> ModelExport | None:
    """The export of ``ref`` that was proven; None where ``op``, its registration, now waits."""
    with engine.store.read() as tx:
        earlier = registry.registered(tx, op.payload["source"]) if "source" in op.payload else None
        last = _last(tx, job.id)
    if earlier is not None:
        # Another job trained the same model and registered the same files.
        return _export(earlier.lineage["export"])
    if last is not None and last.status == "done":
        return _export(last.payload["made"])
    now = engine.now()
    with engine.store.write() as tx:
        if jobs.get(tx, job.id).state is State.NEEDS_ATTENTION:
            operations.save(tx, op, at=now, due_at=None)
            return None
        if last is None or last.status not in operations.ACTIVE:
            _intend(tx, engine, op, job, ref)
        # The export makes it due as soon as it has ended.
        operations.save(tx, op, at=now, due_at=now + engine.timing.poll_longest)
    return None


def _export(made: Mapping[str, Json]) -> ModelExport:
    return ModelExport(
        model=made["model"], files=tuple(ExportedFile(**one) for one in made["files"])
    )


def _last(tx: sa.Connection, job_id: str) -> Operation | None:
    found = [one for one in operations.of_job(tx, job_id) if one.kind == "export"]
    return max(found, key=_number, default=None)


def _number(op: Operation) -> int:
    return int(op.key.rpartition(".")[2])


def _intend(
    tx: sa.Connection, engine: Engine, op: Operation, job: jobs.JobRecord, ref: ModelRef
) -> None:
    last = _last(tx, job.id)
    number = 1 if last is None else _number(last) + 1
    operations.insert(
        tx,
        key=f"{job.id}.export.{number}",
        kind="export",
        backend=op.backend,
        at=engine.now(),
        job_id=job.id,
        payload={"spec": asdict(_wanted(engine, job, ref)), "register": op.key},
    )


def _wanted(engine: Engine, job: jobs.JobRecord, ref: ModelRef) -> ExportSpec:
    wish = job.plan.export
    held_out = _dataset(engine, job).rows("test")
    return ExportSpec(
        model=ref.id,
        base_model=ref.base_model,
        name=job.name,
        formats=wish.formats,
        serve=wish.serve,
        held_out=held_out.path,
        held_out_sha256=held_out.sha256,
        rows=min(wish.rows, held_out.rows),
        max_output_tokens=job.plan.evaluation.max_output_tokens,
    )


def _dataset(engine: Engine, job: jobs.JobRecord) -> Dataset:
    return load_dataset((engine.data_root / job.plan.dataset).resolve())


class ExportStarter:
    """The export's part of the sending protocol."""

    def send(self, engine: Engine, op: Operation) -> Handle:
        """One start."""
        return _exporter(engine, op).start_export(_spec(op), key=op.key)

    def find(self, engine: Engine, op: Operation) -> FindResult | None:
        """By key."""
        return _exporter(engine, op).find_export(_spec(op), key=op.key)

    def started(self, tx: sa.Connection, engine: Engine, op: Operation, how: str) -> None:
        """A line in the job's history."""
        assert op.job_id is not None
        formats = ", ".join(_spec(op).formats)
        jobs.note(
            tx,
            op.job_id,
            "exporting",
            at=engine.now(),
            cause=f"export to {formats} {how}",
            fields={"export": op.key, "formats": formats},
            worker=engine.worker,
        )

    def refused(self, tx: sa.Connection, engine: Engine, op: Operation, why: BackendError) -> None:
        """A person must change the recipe or the machine."""
        _fell_short(tx, engine, op, str(why))

    def stuck(self, engine: Engine, op: Operation, why: str, **changes: Any) -> None:
        """To needs_attention."""
        need_attention(engine, op, why, **changes)

    def never_started(self, tx: sa.Connection, engine: Engine, op: Operation) -> bool:  # noqa: ARG002
        """A job that has ended needs none."""
        assert op.job_id is not None
        return jobs.get(tx, op.job_id).state in TERMINAL

    def surplus(self, engine: Engine, op: Operation, extra: Handle) -> None:
        """A key holds one export, so a second start only finds the first."""


STARTER = ExportStarter()


def step(engine: Engine, op: Operation) -> None:
    """Start, recover, or look how far it is."""
    if op.status == "intended":
        sending.start(engine, STARTER, op)
    elif op.status == "sending":
        sending.recover(engine, STARTER, op)
    else:
        _look(engine, op)


def _look(engine: Engine, op: Operation) -> None:
    assert op.handle is not None
    assert op.job_id is not None
    status = _exporter(engine, op).poll_export(op.handle)
    engine.reach("export.poll")
    if status.state is RemoteState.SUCCEEDED:
        _judge(engine, op, status)
        return
    if status.progress is not None and status.progress.total_steps:
        stage = f"export {status.raw}"
        engine.notify(op.job_id, stage, status.progress.step or 0, status.progress.total_steps)
    now = engine.now()
    with engine.store.write() as tx:
        if status.state.terminal:
            why = status.problem.message if status.problem else f"it is {status.raw!r}"
            operations.save(tx, op, at=now, status="failed", due_at=None, last_raw=status.raw)
            _fell_short(tx, engine, op, why)
            return
        timing = engine.timing
        wait = poll_interval(op.looks, shortest=timing.poll_shortest, longest=timing.poll_longest)
        operations.save(
            tx,
            op,
            at=now,
            due_at=now + wait,
            looks=op.looks + 1,
            failures=0,
            last_raw=status.raw,
        )


def _judge(engine: Engine, op: Operation, status: RemoteStatus) -> None:
    """Score the answers of every file; only an export that holds up is stored as done."""
    assert op.handle is not None
    assert op.job_id is not None
    backend = _exporter(engine, op)
    made = backend.exported(op.handle)
    with engine.store.read() as tx:
        job = jobs.get(tx, op.job_id)
    scores = {
        source: _score(engine, op, job, source)
        for source in (TRAINED, *(one.format for one in made.files if one.answers))
    }
    worse = _worse(scores)
    if not worse:
        backend.describe_export(op.handle, _card(job, scores))
    engine.reach("export.judged")
    now = engine.now()
    stored = {**asdict(made), "scores": {name: asdict(one) for name, one in scores.items()}}
    with engine.store.write() as tx:
        payload = {**op.payload, "made": stored}
        state = "failed" if worse else "done"
        operations.save(
            tx, op, at=now, status=state, due_at=None, payload=payload, last_raw=status.raw
        )
        if worse:
            _fell_short(tx, engine, op, "; ".join(worse))
            return
        operations.advance(tx, op.payload["register"], due_at=now)
        _tell(tx, engine, op, scores)
    engine.reach("export.proven")


def _score(engine: Engine, op: Operation, job: jobs.JobRecord, source: str) -> Interval:
    assert op.handle is not None
    spec = _spec(op)
    scorer = engine.backends.scorer(job.plan.evaluation.scorer)
    rows = islice(_dataset(engine, job).examples("test"), spec.rows)
    answers = list(_exporter(engine, op).export_answers(op.handle, source))
    if len(answers) != spec.rows:
        raise BackendError(
            f"{op.backend} answered {len(answers)} of {spec.rows} held-out rows with {source} of "
            f"{spec.model}; the export is not whole"
        )
    scores = [scorer(text, row.expected) for text, row in zip(answers, rows, strict=True)]
    return mean_interval(scores, job.plan.evaluation.confidence)


def _worse(scores: Mapping[str, Interval]) -> list[str]:
    """Files whose score is worse than the trained model's by more than their own interval."""
    trained = scores[TRAINED]
    return [
        f"{name} scores {one} on the held-out rows, and the trained model {trained.mean:.3f}"
        for name, one in scores.items()
        if trained.mean > one.high
    ]


def _card(job: jobs.JobRecord, scores: Mapping[str, Interval]) -> dict[str, Json]:
    spec = job.plan.spec
    return {
        "name": job.name,
        "scores": {name: str(one) for name, one in scores.items()},
        "scorer": job.plan.evaluation.scorer,
        "lineage": {
            "job": job.id,
            "dataset": job.dataset_id,
            "training_sha256": spec.training.sha256,
            "base_model": spec.base_model,
            "method": spec.method,
            "hyperparameters": dict(spec.hyperparameters),
        },
    }


def _tell(tx: sa.Connection, engine: Engine, op: Operation, scores: Mapping[str, Interval]) -> None:
    assert op.job_id is not None
    told = ", ".join(f"{name} {one.mean:.3f}" for name, one in scores.items())
    jobs.note(
        tx,
        op.job_id,
        "exported",
        at=engine.now(),
        cause=f"every file holds up beside the trained model: {told}",
        fields={"scores": {name: one.mean for name, one in scores.items()}},
        worker=engine.worker,
    )


def _fell_short(tx: sa.Connection, engine: Engine, op: Operation, why: str) -> None:
    assert op.job_id is not None
    message = redact(f"the export of {_spec(op).model} did not hold up: {why}; {_WHAT_NEXT}")
    jobs.attention(tx, op.job_id, message, at=engine.now(), worker=engine.worker)


def _spec(op: Operation) -> ExportSpec:
    values = dict(op.payload["spec"])
    return ExportSpec(**{**values, "formats": tuple(values["formats"])})


def _exporter(engine: Engine, op: Operation) -> SupportsExport:
    backend = engine.backends.backend(op.backend)
    if not isinstance(backend, SupportsExport):
        raise PluginError(
            f"{op.backend} says that it exports, and does not; report it to its author"
        )
    return backend
