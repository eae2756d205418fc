"""A learner that is a fine-tuning backend: it trains a real model and answers with it.

Any backend of ``understudy.backend`` will do that trains supervised and answers. A distribution
offers its own under a name by an entry point of the group ``understudy_sandbox.learners`` that
points at the class; ``--learner NAME:STUDENT`` then trains STUDENT with it. Its settings come from
the environment variables that its ``Settings`` name.

A job is named by a hash of its rows and settings, so what was trained once is found again.
"""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson

from understudy.backend import (
    Backend,
    SupportsEvents,
    SupportsExport,
    SupportsFind,
    SupportsInfer,
)
from understudy.model import (
    ChatRequest,
    ExportSpec,
    Found,
    Handle,
    JobSpec,
    RemoteState,
    RemoteStatus,
    Rows,
    UploadFailed,
    UploadPending,
)
from understudy_sandbox.learner.base import Measure, Refused, Settings
from understudy_sandbox.learner.rows import Answer, Prompt, Sample

__all__ = ["DrivenLearner", "DrivenModel"]

_LOOK_EVERY = 0.2
_TIMEOUT = 300.0
_AT_ONCE = 4
_MOST_TOKENS = 512
_SERVED = ("q8_0", "f16")
_PROVEN_ON = 8


class DrivenModel:
    """A model of the backend. Asked from several threads."""

    def __init__(self, backend: SupportsInfer, model: str) -> None:
        self._backend, self._model = backend, model

    def answer_many(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """See ``Learned.answer_many``."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return list(threads.map(self._answer, prompts))

    def _answer(self, prompt: Prompt) -> Answer:
        request = ChatRequest(
            model=self._model,
            messages=tuple(_messages(prompt)),
            sampling={"temperature": 0, "max_tokens": _MOST_TOKENS},
        )
        return Answer(content=self._backend.complete(request, timeout=_TIMEOUT).text)


class DrivenLearner:
    """Drives a backend.

    Args:
        backend: its class.
        student: the base model to train.
    """

    def __init__(self, backend: type[Backend], student: str) -> None:
        told = {
            field: os.environ[variable]
            for field, variable in backend.Settings.env.items()
            if os.environ.get(variable)
        }
        settings = backend.Settings.model_validate(told)
        self._backend = backend(name="learner", settings=settings, clock=_Wall())
        self._student = student

    def fit(
        self,
        samples: Sequence[Sample],
        validation: Sequence[Sample],
        settings: Settings,
        on_measure: Callable[[Measure], None],
    ) -> DrivenModel:
        """See ``Learner.fit``.

        Raises:
            Refused: the backend refuses it, or failed; in its words.
        """
        with tempfile.TemporaryDirectory() as folder:
            rows = _rows_file(Path(folder) / "train.jsonl", samples)
            spec = JobSpec(
                base_model=self._student,
                method="supervised",
                training=rows,
                hyperparameters={"n_epochs": settings.epochs},
                seed=settings.seed,
            )
            key = _key(spec)
            job = self._train(spec, key)
            self._watch(job, on_measure)
            held_out = _held_out(Path(folder) / "held-out.jsonl", validation or samples)
            model = self._files(spec, job, held_out, key)
        assert isinstance(self._backend, SupportsInfer)
        return DrivenModel(self._backend, model)

    def _train(self, spec: JobSpec, key: str) -> Handle:
        problems = self._backend.validate(spec)
        if problems:
            raise Refused("; ".join(f"{one.message}. {one.fix}" for one in problems))
        files = self._backend.upload(spec, key=key)
        while isinstance(status := self._backend.poll_upload(files), UploadPending):
            _pause()
        if isinstance(status, UploadFailed):
            raise Refused(status.message)
        if isinstance(self._backend, SupportsFind):
            found = self._backend.find(key, files)
            if isinstance(found, Found):
                return found.handle
        return self._backend.create(spec, files, key=key)

    def _watch(self, job: Handle, on_measure: Callable[[Measure], None]) -> None:
        seen: str | None = None
        while True:
            status = self._backend.poll(job)
            total = status.progress.total_steps if status.progress else None
            seen = self._measure(job, seen, total, on_measure)
            if status.state.terminal:
                break
            _pause()
        _require(status)

    def _measure(
        self,
        job: Handle,
        seen: str | None,
        total: int | None,
        on_measure: Callable[[Measure], None],
    ) -> str | None:
        """Pass on what the training log says after the event ``seen``; the newest event."""
        if not isinstance(self._backend, SupportsEvents):
            return None
        for event in self._backend.events(job, after=seen):
            seen = event.id
            told = event.metrics
            loss, step = told.get("loss"), told.get("step")
            last = told.get("total_steps") or total
            if loss is None or not step or not last:
                continue
            right = told.get("token_accuracy")
            on_measure(
                Measure(
                    fraction=min(step / last, 1.0),
                    train_loss=float(loss),
                    # The mean chance of a right token, where the backend does not count them.
                    train_accuracy=math.exp(-float(loss)) if right is None else float(right),
                    valid_loss=None,
                    valid_accuracy=None,
                )
            )
        return seen

    def _files(self, spec: JobSpec, job: Handle, held_out: Path, key: str) -> str:
        """The id under which the model answers; it is exported first where models are files."""
        ref = self._backend.model(job)
        if not isinstance(self._backend, SupportsExport):
            return ref.id
        known = self._backend.export_formats()
        serve = next((name for name in _SERVED if name in known), known[0])
        data = held_out.read_bytes()
        wanted = ExportSpec(
            model=ref.id,
            base_model=spec.base_model,
            name="sandbox",
            formats=(serve,),
            serve=serve,
            held_out=str(held_out),
            held_out_sha256=hashlib.sha256(data).hexdigest(),
            rows=data.count(b"\n"),
            max_output_tokens=_MOST_TOKENS // 4,
        )
        export = self._backend.start_export(wanted, key=key)
        while not (status := self._backend.poll_export(export)).state.terminal:
            _pause()
        _require(status)
        return self._backend.exported(export).model


class _Wall:
    def now(self) -> float:
        return time.time()


def _pause() -> None:
    threading.Event().wait(_LOOK_EVERY)


def _require(status: RemoteStatus) -> None:
    if status.state is not RemoteState.SUCCEEDED:
        raise Refused(status.problem.message if status.problem else f"it is {status.raw!r}")


def _messages(prompt: Prompt) -> list[dict[str, str]]:
    """The prompt as a chat: what came before the question stands before it."""
    asked = [{"role": "user", "content": prompt.source}]
    return [{"role": "system", "content": prompt.system}, *asked] if prompt.system else asked


def _rows_file(path: Path, samples: Sequence[Sample]) -> Rows:
    sizes = []
    with path.open("wb") as file:
        for sample in samples:
            if sample.answer.calls:
                raise Refused("this learner answers in text; rows with tool calls need another")
            answer = {"role": "assistant", "content": sample.answer.content or ""}
            row = {"messages": [*_messages(sample.prompt), answer]}
            sizes.append(file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)))
    # Four bytes a token: good enough for the checks that a backend makes of them.
    return Rows(
        path=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        rows=len(sizes),
        tokens=sum(sizes) // 4,
        longest=max(sizes) // 4,
        bytes=sum(sizes),
    )


def _held_out(path: Path, samples: Sequence[Sample]) -> Path:
    with path.open("wb") as file:
        for number, sample in enumerate(samples[:_PROVEN_ON]):
            row = {
                "id": f"row-{number}",
                "messages": _messages(sample.prompt),
                "tools": [],
                "label": sample.answer.content or "",
            }
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    return path


def _key(spec: JobSpec) -> str:
    told = [spec.base_model, spec.training.sha256, dict(spec.hyperparameters), spec.seed]
    return f"sandbox-{hashlib.sha256(orjson.dumps(told)).hexdigest()[:24]}"
