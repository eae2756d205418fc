"""The OpenAI backend: thin I/O over the SDK, the only file that imports it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

import httpx2
import openai
from pydantic import SecretStr

from understudy import backend as contract
from understudy.backend import Check, Clock, FindResult
from understudy.errors import (
    AuthError,
    BackendError,
    NotFound,
)
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
from understudy_openai.settings import OpenAISettings, is_loopback
from understudy_openai.uploads import Uploader, file_name
from understudy_openai.wire_errors import Failure, failure_of, to_error

__all__ = ["OpenAIBackend", "timeouts"]

_PAGE = 100
T = TypeVar("T")


def timeouts(total: float, *, read: float | None = None) -> httpx2.Timeout:
    """Phases that together stay under ``total`` seconds; ``read`` sets that phase apart."""
    phase = min(5.0, total / 6)
    return httpx2.Timeout(
        connect=phase, pool=phase, write=phase, read=total - 3 * phase if read is None else read
    )


class OpenAIBackend(contract.Backend):
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
    upload_sizes: Mapping[str, int] = {}
    verb_options: Mapping[str, Any] = {}
    settings: Any

    def __init__(self, *, name: str, settings: Any, clock: Clock) -> None:
        super().__init__(name=name, settings=settings, clock=clock)
        self._lock = threading.Lock()
        self._made: openai.OpenAI | None = None

    # -- what a relative of this wire overrides ------------------------------------------------

    def make_client(self) -> openai.OpenAI:
        """A client without retries. Called once, at the first request."""
        key: SecretStr | None = self.settings.api_key
        if key is None:
            raise AuthError(
                f"backend {self.name!r} has no API key. Set OPENAI_API_KEY, or name another "
                f"variable: api_key_env in [backends.{self.name}] of understudy.toml."
            )
        return openai.OpenAI(
            api_key=key.get_secret_value(),
            base_url=self.settings.base_url,
            organization=self.settings.organization,
            project=self.settings.project,
            max_retries=0,
            timeout=timeouts(self.settings.request_timeout),
            http_client=self.transport(),
        )

    def transport(self) -> httpx2.Client:
        """The connection pool. Redirects are not followed; loopback never goes by a proxy."""
        return openai.DefaultHttpxClient(
            follow_redirects=False, trust_env=not is_loopback(self.settings.base_url)
        )

    def secrets(self) -> tuple[str, ...]:
        """Strings that must not appear in any message."""
        key: SecretStr | None = self.settings.api_key
        return (key.get_secret_value(),) if key else ()

    def body(
        self, spec: JobSpec, *, training: str, validation: str | None, key: str
    ) -> dict[str, Json]:
        """The body of the create."""
        return params.create_body(spec, training=training, validation=validation, key=key)

    def error(self, failure: Failure, *, what: str, paid: bool) -> BackendError:
        """What to raise for ``failure`` of a request of this backend."""
        return to_error(failure, what=what, paid=paid, secrets=self.secrets())

    def find_filters(self, key: str) -> tuple[Mapping[str, Any], ...]:
        """Arguments of the job list, in the order to ask; the last asks for all jobs."""
        return ({"metadata": {wire.KEY: key}}, {})

    def owner(self, model: str) -> str | None:
        """Who the provider says serves ``model``."""
        what = f"look at model {model}"
        return self.read(what, wire.model_record, self._model(model)).owner

    # -- requests ------------------------------------------------------------------------------

    @property
    def client(self) -> Any:
        """The SDK's client, made at first use and shared by all threads."""
        with self._lock:
            if self._made is None:
                self._made = self.make_client()
            return self._made

    @property
    def host(self) -> str:
        """Where requests go, for messages and sources."""
        return urlsplit(str(self.settings.base_url)).hostname or ""

    def call(
        self, what: str, method: Callable[..., Any], /, *, paid: bool = False, **kwargs: Any
    ) -> Json:
        """One request. ``what`` completes *could not ...* in messages.

        Raises:
            OutcomeUnknown: it is ``paid`` and may have taken effect.
            BackendError: it was refused or failed.
        """
        where = f"{what} at {self.host}"
        try:
            response = method(**kwargs).http_response
            body = json.loads(response.content)
        except (openai.OpenAIError, openai.InvalidWebhookSignatureError) as error:
            failure = failure_of(error)
        except (UnicodeDecodeError, json.JSONDecodeError):
            failure = Failure(kind="reply", status=response.status_code, message="it is not JSON")
        else:
            if isinstance(body, dict | list):
                return body
            failure = Failure(kind="reply", status=response.status_code, message="not an object")
        raise self.error(failure, what=where, paid=paid) from None

    def read(self, what: str, parse: Callable[[Json], T], body: Json, *, paid: bool = False) -> T:
        """``parse(body)``, where a body that lacks what it must have is trouble of the server."""
        try:
            return parse(body)
        except ValueError as error:
            failure = Failure(kind="reply", message=str(error))
        raise self.error(failure, what=f"{what} at {self.host}", paid=paid) from None

    def pages(self, what: str, method: Callable[..., Any], /, **kwargs: Any) -> Iterator[Json]:
        """The pages of a list in the provider's order, until it says or shows that it ended."""

        def fetch(after: str | None) -> Json:
            cursor = {} if after is None else {"after": after}
            return self.call(what, method, **{"limit": _PAGE, **kwargs, **cursor})

        return lists.walk(fetch, what=f"{what} at {self.host}")

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

    def uploader(self) -> Uploader:
        """What sends files, with the patience that they need."""
        patience = timeouts(
            float(self.settings.request_timeout), read=float(self.settings.upload_timeout)
        )

        def call(what: str, method: Callable[..., Any], /, **kwargs: Any) -> Json:
            return self.call(what, method, timeout=patience, **kwargs)

        return Uploader(self.client, call, **self.upload_sizes)

    def poll_upload(self, handle: Handle) -> UploadStatus:
        """One look at each file."""
        names = (handle.data.get("training_file", handle.id), handle.data.get("validation_file"))
        files = [self._file(str(name)) for name in names if name is not None]
        return wire.upload_status(files, self.ready_files)

    def _file(self, name: str) -> wire.FileRecord:
        what, retrieve = f"look at file {name}", self.client.files.with_raw_response.retrieve
        return self.read(what, wire.file_record, self.call(what, retrieve, file_id=name))

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

    def close(self) -> None:
        """Close the connection pool."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

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
