"""The OpenAI backend: jobs, models and answers over one connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from understudy import backend as contract
from understudy.backend import Check, FindResult
from understudy.errors import BackendError, NotFound
from understudy.model import (
    Absent,
    ChatReply,
    ChatRequest,
    Checkpoint,
    Estimate,
    Handle,
    JobSpec,
    Json,
    Lifecycle,
    ModelRef,
    Problem,
    RemoteEvent,
    RemoteState,
    RemoteStatus,
    UploadStatus,
)
from understudy_openai import doctor, lists, params, wire, wire_chat
from understudy_openai.batch import Batches
from understudy_openai.connection import timeouts
from understudy_openai.settings import OpenAISettings
from understudy_openai.uploads import file_name
from understudy_openai.wire_errors import Failure

__all__ = ["OpenAIBackend"]


class OpenAIBackend(Batches):
    """OpenAI, or any server that speaks its fine-tuning wire.

    A plugin for a relative of this wire overrides what stands under that heading, and sets the
    attributes where its provider differs: ``limits``; ``ready_files``, the statuses of a file that
    can be trained on; ``upload_sizes``, the ``part`` and ``single`` bytes of an upload;
    ``verb_options``, further arguments of cancel, pause and resume.
    """

    Params: ClassVar[type[contract.Params]] = params.OpenAIParams
    Settings: ClassVar[type[contract.Settings]] = OpenAISettings
    limits: params.Limits = params.Limits()
    ready_files: frozenset[str] = wire.FILE_READY

    # -- what a relative of this wire overrides ------------------------------------------------

    def body(
        self, spec: JobSpec, *, training: str, validation: str | None, key: str
    ) -> dict[str, Json]:
        """The body of the create."""
        return params.create_body(spec, training=training, validation=validation, key=key)

    def find_filters(self, key: str) -> tuple[Mapping[str, Any], ...]:
        """Arguments of the job list, in the order to ask; the last asks for all jobs."""
        return ({"metadata": {wire.KEY: key}}, {})

    def owner(self, model: str) -> str | None:
        """Who the provider says serves ``model``."""
        what = f"look at model {model}"
        return self.read(what, wire.model_record, self._model(model)).owner

    # -- the contract --------------------------------------------------------------------------

    def validate(self, spec: JobSpec) -> list[Problem]:
        """Problems of names, ranges, sizes and models; offline."""
        return params.check_spec(spec, self.limits, self.Params)

    def upload(self, spec: JobSpec, *, key: str) -> Handle:
        """Send training and validation file, or find them complete from an earlier try."""
        uploader = self.uploader()
        data: dict[str, Json] = {"key": key}
        for split, rows in (("train", spec.training), ("validation", spec.validation)):
            if rows is not None:
                name = file_name(key, split)
                sent = uploader.send(rows.path, name)
                file = self.read(f"upload {name}", wire.file_record, sent)
                data["training_file" if split == "train" else "validation_file"] = file.id
        return Handle(kind="upload", id=data["training_file"], data=data)

    def poll_upload(self, handle: Handle) -> UploadStatus:
        """One look at each file."""
        names = (handle.data.get("training_file", handle.id), handle.data.get("validation_file"))
        files = [self.file(str(name)) for name in names if name is not None]
        return wire.upload_status(files, self.ready_files)

    def create(self, spec: JobSpec, files: Handle, *, key: str) -> Handle:
        """Start the job: one POST, no retry."""
        training = files.data.get("training_file", files.id)
        validation = files.data.get("validation_file")
        body = self.body(spec, training=training, validation=validation, key=key)
        what = f"create the fine-tuning job of {spec.base_model}"
        reply = self.call(
            what,
            self.client.fine_tuning.jobs.with_raw_response.create,
            paid=True,
            timeout=timeouts(float(self.settings.request_timeout)),
            **body,
        )
        try:
            handle = wire.job_handle(reply)
        except ValueError:
            failure = Failure(kind="reply", message="it names no job")
            raise self.error(failure, what=what, paid=True) from None
        return Handle(
            kind="job", id=handle.id, data={"training_file": training, **handle.data, "key": key}
        )

    def poll(self, handle: Handle) -> RemoteStatus:
        """One look at the job."""
        return wire.job_status(self._job(handle), self.secrets())

    def _job(self, handle: Handle) -> Json:
        retrieve = self.client.fine_tuning.jobs.with_raw_response.retrieve
        return self.call(f"look at job {handle.id}", retrieve, fine_tuning_job_id=handle.id)

    def model(self, handle: Handle) -> ModelRef:
        """The model of a succeeded job, and who the provider says owns it."""
        job = wire.mapping(self._job(handle))
        status = wire.job_status(job, self.secrets())
        if status.state is not RemoteState.SUCCEEDED or status.model is None:
            raise NotFound(
                f"job {handle.id} has no model: it is {status.raw or 'without a status'!r}. "
                "Wait until it has succeeded."
            )
        owner = self.owner(status.model)
        base = wire.text(job.get("model")) or str(handle.data.get("base_model", ""))
        return ModelRef(backend=self.name, id=status.model, base_model=base, owner=owner)

    def _model(self, model: str) -> Json:
        retrieve = self.client.models.with_raw_response.retrieve
        return self.call(f"look at model {model}", retrieve, model=model)

    # -- find, poll many, list -----------------------------------------------------------------

    def job_pages(self, **filters: Any) -> Iterator[list[Mapping[str, Json]]]:
        """The account's jobs, newest first, a page at a time."""
        method = self.client.fine_tuning.jobs.with_raw_response.list
        for page in self.pages("list the fine-tuning jobs", method, **filters):
            yield [row for row in wire.rows(page) if wire.text(row.get("id"))]

    def find(self, key: str, files: Handle | None) -> FindResult:
        """The job created under ``key``, and further ones, oldest first.

        The server is asked to filter by metadata; where it does not filter, or keeps no metadata,
        its list is read to the end and the training file decides.
        """
        file = files.data.get("training_file", files.id) if files is not None else None
        for filters in self.find_filters(key):
            listed = [row for page in self.job_pages(**filters) for row in page]
            found = lists.ours(listed, key=key, file=file)
            if found is not None:
                return found
            if listed:
                # Rows of others came back although none is ours: this was the whole list.
                break
        return Absent()

    def poll_many(self, handles: Sequence[Handle]) -> Mapping[str, RemoteStatus]:
        """Statuses from the list, read no further than polling one by one would cost."""
        return lists.statuses(self.job_pages(), handles, self.secrets())

    def jobs(self) -> Iterator[tuple[Handle, RemoteStatus]]:
        """All jobs of the account, newest first."""
        for page in self.job_pages():
            for row in page:
                yield wire.job_handle(row), wire.job_status(row, self.secrets())

    # -- cancel, pause, resume -----------------------------------------------------------------

    def cancel(self, handle: Handle) -> None:
        """Ask for it once; a job that has ended, or is ending, is left alone."""
        self._ask("cancel", handle, {RemoteState.CANCELLING})

    def pause(self, handle: Handle) -> None:
        """Ask for it once."""
        self._ask("pause", handle, {RemoteState.PAUSING, RemoteState.PAUSED})

    def resume(self, handle: Handle) -> None:
        """Ask for it once."""
        done = {RemoteState.RESUMING, RemoteState.RUNNING, RemoteState.QUEUED}
        self._ask("resume", handle, done)

    def _ask(self, verb: str, handle: Handle, done: set[RemoteState]) -> None:
        method = getattr(self.client.fine_tuning.jobs.with_raw_response, verb)
        try:
            what = f"{verb} job {handle.id}"
            self.call(what, method, fine_tuning_job_id=handle.id, **self.verb_options)
        except BackendError as error:
            # The wire answers 400 or 409 when there is nothing left to do; only a look tells.
            if error.status not in {400, 409}:
                raise
            state = self.poll(handle).state
            if not state.terminal and state not in done:
                raise

    # -- events, checkpoints -------------------------------------------------------------------

    def events(self, handle: Handle, *, after: str | None) -> Iterator[RemoteEvent]:
        """The training log, oldest first; the wire gives it newest first."""
        method = self.client.fine_tuning.jobs.with_raw_response.list_events
        what = f"read the events of job {handle.id}"
        pages = self.pages(what, method, fine_tuning_job_id=handle.id)
        yield from lists.events(pages, after, self.secrets())

    def checkpoints(self, handle: Handle) -> list[Checkpoint]:
        """Models of earlier steps, earliest first."""
        method = self.client.fine_tuning.jobs.checkpoints.with_raw_response.list
        what = f"read the checkpoints of job {handle.id}"
        return lists.checkpoints(self.pages(what, method, fine_tuning_job_id=handle.id))

    # -- answers, estimates, dates, health -----------------------------------------------------

    def complete(self, request: ChatRequest, *, timeout: float) -> ChatReply:
        """One chat completion, one request. A lost answer may have been billed."""
        body = wire_chat.chat_body(request)
        method = self.client.chat.completions.with_raw_response.create
        head = {name: body.pop(name) for name in ("model", "messages")}
        reply = self.call(
            f"ask {request.model}",
            method,
            paid=True,
            timeout=timeouts(timeout),
            extra_body=body,
            **head,
        )
        answer = partial(wire_chat.chat_reply, asked=request.model)
        return self.read(f"ask {request.model}", answer, reply, paid=True)

    def estimate(self, spec: JobSpec) -> Estimate:
        """Billed tokens; offline."""
        return params.estimate(spec)

    def lifecycle(self, model: str) -> Lifecycle:
        """Dates of ``model``, from the models endpoint."""
        body = self._model(model)
        dates = partial(wire.lifecycle, host=self.host)
        return self.read(f"look at model {model}", dates, body)

    def doctor(self) -> Iterable[Check]:
        """Endpoint, key, right to list jobs, models that can be trained."""
        return doctor.checks(self)
