"""A backend over ``FakeProvider`` that keeps the whole contract; also a worked example."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, SecretStr, ValidationError

from understudy.backend import (
    Backend,
    BackendSpec,
    Capabilities,
    Check,
    Clock,
    FindResult,
    Params,
    Settings,
    Support,
)
from understudy.errors import (
    AuthError,
    BackendError,
    InvalidData,
    NotEligible,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from understudy.model import (
    Absent,
    ChatReply,
    ChatRequest,
    Checkpoint,
    Estimate,
    Found,
    Handle,
    JobSpec,
    Lifecycle,
    ModelRef,
    Problem,
    RemoteEvent,
    RemoteProblem,
    RemoteState,
    RemoteStatus,
    UploadFailed,
    UploadPending,
    UploadReady,
    UploadStatus,
    Usage,
)
from understudy.testing.fake_provider import FakeConnectionError, FakeHTTPError, FakeProvider
from understudy.validation import nearest

__all__ = ["FAKE_SPEC", "STATUSES", "FakeBackend", "FakeParams", "FakeSettings"]

T = TypeVar("T")

STATUSES: Mapping[str, RemoteState] = {
    "validating_files": RemoteState.QUEUED,
    "queued": RemoteState.QUEUED,
    "running": RemoteState.RUNNING,
    "paused": RemoteState.PAUSED,
    "succeeded": RemoteState.SUCCEEDED,
    "failed": RemoteState.FAILED,
    "cancelling": RemoteState.CANCELLING,
    "cancelled": RemoteState.CANCELLED,
}
"""Every status that the fake provider documents."""

_NOT_HERE = Support.no("the fake provider has no such thing")

FAKE_SPEC = BackendSpec(
    name="fake",
    target="understudy.testing.fake_backend:FakeBackend",
    api=">=1,<2",
    install="pip install understudy",
    summary="a provider in memory, for tests",
    capabilities=Capabilities(
        methods=("supervised",),
        find=Support.yes(),
        poll_many=Support.yes(),
        cancel=Support.yes(),
        pause=Support.yes(),
        events=Support.yes(),
        checkpoints=Support.yes(),
        deploy=_NOT_HERE,
        infer=Support.yes(),
        batch=_NOT_HERE,
        export=_NOT_HERE,
        estimate=Support.yes(),
        lifecycle=Support.yes(),
        listing=Support.yes(),
        list_lag=30.0,
        request_timeout=10.0,
        price_book="fake",
    ),
)


class FakeParams(Params):
    """Hyperparameters of the fake provider."""

    n_epochs: int = Field(default=3, ge=1, le=50)
    learning_rate: float | None = Field(default=None, gt=0)


class FakeSettings(Settings):
    """Settings: the key, and which provider of this process."""

    env = {"api_key": "UNDERSTUDY_FAKE_KEY"}  # noqa: RUF012 - a ClassVar of the base class

    api_key: SecretStr = SecretStr("sk-fake-0123456789abcdef")
    provider: str = "default"


class FakeBackend(Backend):
    """Drives a ``FakeProvider``: the one given, else the one that the settings name."""

    Params = FakeParams
    Settings = FakeSettings

    def __init__(
        self,
        *,
        name: str = "fake",
        settings: FakeSettings | None = None,
        clock: Clock | None = None,
        provider: FakeProvider | None = None,
    ) -> None:
        settings = settings or FakeSettings()
        self.provider = provider or FakeProvider.get(settings.provider)
        super().__init__(name=name, settings=settings, clock=clock or self.provider.clock)

    def validate(self, spec: JobSpec) -> list[Problem]:
        """Problems of method, size and hyperparameters."""
        problems = []
        if spec.method not in FAKE_SPEC.capabilities.methods:
            fix = 'use method = "supervised"'
            problems.append(Problem(field="method", message=f"{spec.method} is unknown", fix=fix))
        if spec.training.rows < FAKE_SPEC.capabilities.min_rows:
            message = f"{spec.training.rows} rows are too few"
            problems.append(Problem(field="training", message=message, fix="give at least 10"))
        try:
            self.Params(**spec.hyperparameters)
        except ValidationError as error:
            for item in error.errors():
                name = str(item["loc"][0])
                fix = nearest(name, self.Params.model_fields)
                field = f"hyperparameters.{name}"
                problems.append(Problem(field=field, message=item["msg"], fix=fix))
        return problems

    def upload(self, spec: JobSpec, *, key: str) -> Handle:
        """The file is named after the key, so that a second call finds it."""
        name = f"{key}.jsonl"
        for file in self._ask(self.provider.list_files):
            if file["name"] == name:
                return Handle(kind="upload", id=file["id"])
        data = Path(spec.training.path).read_bytes()
        file = self._ask(self.provider.upload, name, data)
        return Handle(kind="upload", id=file["id"])

    def poll_upload(self, handle: Handle) -> UploadStatus:
        """One look at the file."""
        status = self._ask(self.provider.file, handle.id)["status"]
        if status == "processed":
            return UploadReady()
        if status == "error":
            return UploadFailed(message="the provider refused the file", code="bad_file")
        return UploadPending()

    def create(self, spec: JobSpec, files: Handle, *, key: str) -> Handle:
        """One request; anything but a clear refusal leaves the outcome unknown."""
        params = self.Params(**spec.hyperparameters)
        body = {
            "base_model": spec.base_model,
            "training_file": files.id,
            "metadata": {**spec.metadata, "key": key},
            "tokens": spec.training.tokens * params.n_epochs,
        }
        try:
            job = self._send(body)
        except (FakeHTTPError, FakeConnectionError) as error:
            known = self._error(error)
            if isinstance(known, Unavailable):
                known = OutcomeUnknown(
                    f"{self.name}: the create of {key} got no clear answer; look for it by key",
                    status=known.status,
                )
            raise known from None
        return self._handle(job)

    def _send(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return self.provider.create(self._key(), body)

    def poll(self, handle: Handle) -> RemoteStatus:
        """One look."""
        return self._status(self._ask(self.provider.job, handle.id))

    def model(self, handle: Handle) -> ModelRef:
        """The fine-tuned model."""
        job = self._ask(self.provider.job, handle.id)
        if not job["model"]:
            raise NotFound(f"{handle.id} is {job['status']!r} and has no model; wait until it ends")
        base = str(job["base_model"])
        return ModelRef(backend=self.name, id=job["model"], base_model=base, owner="fake")

    def find(self, key: str, files: Handle | None) -> FindResult:  # noqa: ARG002
        """Reads the whole list; the engine waits out its lag before it believes Absent."""
        jobs = self._ask(self.provider.list_jobs)
        found = [self._handle(job) for job in reversed(jobs) if job["metadata"].get("key") == key]
        if found:
            return Found(handle=found[0], surplus=tuple(found[1:]))
        return Absent()

    def poll_many(self, handles: Sequence[Handle]) -> Mapping[str, RemoteStatus]:
        """One list for all."""
        wanted = {handle.id for handle in handles}
        jobs = self._ask(self.provider.list_jobs)
        return {job["id"]: self._status(job) for job in jobs if job["id"] in wanted}

    def cancel(self, handle: Handle) -> None:
        """Ended jobs stay as they are."""
        self._act(handle, "cancel")

    def pause(self, handle: Handle) -> None:
        """Ended jobs stay as they are."""
        self._act(handle, "pause")

    def resume(self, handle: Handle) -> None:
        """Ended jobs stay as they are."""
        self._act(handle, "resume")

    def events(self, handle: Handle, *, after: str | None) -> Iterator[RemoteEvent]:
        """One event for each step of the script."""
        rows = self._ask(self.provider.events, handle.id)
        ids = [row["id"] for row in rows]
        start = ids.index(after) + 1 if after in ids else 0
        for row in rows[start:]:
            yield RemoteEvent(
                id=row["id"],
                at=row["at"],
                level="info",
                message=row["message"],
                metrics=row["metrics"],
            )

    def checkpoints(self, handle: Handle) -> list[Checkpoint]:
        """Two for each job that succeeded."""
        return [Checkpoint(**row) for row in self._ask(self.provider.checkpoints, handle.id)]

    def complete(self, request: ChatRequest, *, timeout: float) -> ChatReply:  # noqa: ARG002
        """The model repeats the question."""
        body = {"model": request.model, "messages": list(request.messages)}
        reply = self._ask(self.provider.chat, body)
        return ChatReply(
            message={"role": "assistant", "content": reply["content"]},
            finish_reason="stop",
            usage=Usage(input=reply["input"], output=reply["output"]),
            model=reply["model"],
        )

    def estimate(self, spec: JobSpec) -> Estimate:
        """Tokens times epochs."""
        epochs = self.Params(**spec.hyperparameters).n_epochs
        tokens = spec.training.tokens * epochs
        return Estimate(tokens=tokens, at_most=tokens, epochs=epochs)

    def lifecycle(self, model: str) -> Lifecycle:
        """Fake models live for ever."""
        date = self._ask(self.provider.model, model)["shutdown_date"]
        return Lifecycle(model=model, inference_until=date, training_until=date, source="fake")

    def jobs(self) -> Iterator[tuple[Handle, RemoteStatus]]:
        """Newest first."""
        for job in self._ask(self.provider.list_jobs):
            yield self._handle(job), self._status(job)

    def doctor(self) -> Iterable[Check]:
        """Whether the key is taken."""
        try:
            self._ask(self.provider.list_jobs)
        except BackendError as error:
            yield Check(name="key", ok=False, detail=str(error), fix="set UNDERSTUDY_FAKE_KEY")
        else:
            yield Check(name="key", ok=True, detail="the provider takes the key")

    def _act(self, handle: Handle, action: str) -> None:
        try:
            self.provider.act(self._key(), handle.id, action)
        except FakeHTTPError as error:
            if error.status != 409:
                raise self._error(error) from None
        except FakeConnectionError as error:
            raise self._error(error) from None

    def _ask(self, call: Callable[..., T], *args: Any) -> T:
        try:
            return call(self._key(), *args)
        except (FakeHTTPError, FakeConnectionError) as error:
            # The body may repeat the key, so the original is not shown as the cause.
            raise self._error(error) from None

    def _key(self) -> str:
        return str(self.settings.api_key.get_secret_value())

    def _handle(self, job: Mapping[str, Any]) -> Handle:
        return Handle(kind="job", id=job["id"], data={"training_file": job["training_file"]})

    def _status(self, job: Mapping[str, Any]) -> RemoteStatus:
        raw = str(job["status"])
        trouble = job["error"]
        return RemoteStatus(
            state=self._state(raw),
            raw=raw,
            problem=RemoteProblem(**trouble) if trouble else None,
            model=job["model"],
            trained_tokens=job["trained_tokens"],
        )

    def _state(self, raw: str) -> RemoteState:
        return STATUSES.get(raw, RemoteState.UNKNOWN)

    def _error(self, error: FakeHTTPError | FakeConnectionError) -> BackendError:
        if isinstance(error, FakeConnectionError):
            return Unavailable(f"{self.name}: the connection was cut; ask again later")
        status = error.status
        if status == 429:
            after = error.retry_after
            message = f"{self.name}: too many requests; ask again in {after} s"
            return RateLimited(message, retry_after=after, status=status)
        known: dict[int, tuple[type[BackendError], str]] = {
            401: (AuthError, "the key was refused; set UNDERSTUDY_FAKE_KEY"),
            403: (NotEligible, "this account may not fine-tune; ask the provider"),
            404: (NotFound, "there is no such thing; check its id"),
            400: (InvalidData, "the request was refused; check the rows"),
        }
        cls, words = known.get(status, (Unavailable, "the server has trouble; ask again later"))
        return cls(f"{self.name}: {words}", status=status)
