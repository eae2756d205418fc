"""The plugin contract: what a fine-tuning backend must do, may do, and says of itself.

A backend is thin: it looks once, sends once and never waits. Sleeping, retrying, remembering and
deciding belong to the engine. Everything that a backend needs to find its work again after a
crash is in the ``Handle`` that it returns, or can be found by the ``key`` it was given.

Money rules, which the conformance kit tests:

* ``create`` (and every other ``start_*``) sends exactly one request that can start paid work.
  SDK retries are off there. If the outcome is unknown it raises ``OutcomeUnknown``.
* The same ``key`` never starts two pieces of work as long as ``find`` can see the first.
* ``poll`` looks once and returns. A status without a mapping is ``RemoteState.UNKNOWN``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from understudy.model import (
    Absent,
    ChatReply,
    ChatRequest,
    Checkpoint,
    Deployment,
    DeploymentSpec,
    Estimate,
    Found,
    Handle,
    JobSpec,
    Lifecycle,
    ModelRef,
    NotYet,
    Problem,
    RemoteEvent,
    RemoteStatus,
    UploadStatus,
)

__all__ = [
    "API_VERSION",
    "Backend",
    "BackendSpec",
    "Capabilities",
    "Check",
    "Clock",
    "FindResult",
    "Params",
    "Settings",
    "Support",
    "SupportsCancel",
    "SupportsCheckpoints",
    "SupportsDeploy",
    "SupportsDoctor",
    "SupportsEstimate",
    "SupportsEvents",
    "SupportsFind",
    "SupportsInfer",
    "SupportsLifecycle",
    "SupportsList",
    "SupportsPause",
    "SupportsPollMany",
]

API_VERSION = "1.0"
"""Version of this contract. A plugin says which versions it fits (``BackendSpec.api``)."""

FindResult = Found | NotYet | Absent


class Clock(Protocol):
    """Where time comes from; injected everywhere so that tests and the sandbox can bend it."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...


class Params(BaseModel):
    """Base of a backend's hyperparameters: unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Settings(BaseModel):
    """Base of a backend's settings (endpoint, key); keep secrets in ``SecretStr`` fields.

    The core fills it from ``[backends.NAME]`` of understudy.toml and from the environment
    variables that ``env`` names, as ``{field: VARIABLE}``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    env: ClassVar[Mapping[str, str]] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Support:
    """Whether a thing can be done, and if not (or only partly) why, in words for a table."""

    ok: bool
    reason: str = ""

    @classmethod
    def yes(cls, reason: str = "") -> Support:
        """Supported; ``reason`` may add a condition."""
        return cls(ok=True, reason=reason)

    @classmethod
    def no(cls, reason: str) -> Support:
        """Not supported, because of ``reason``."""
        return cls(ok=False, reason=reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What a backend can do, as data, so that a matrix needs no SDK.

    Each name that ends a ``Supports*`` protocol appears here with a reason where it is missing.
    ``list_lag`` is how many seconds a new job may be missing from the provider's list; the engine
    waits that long before it believes ``Absent``. ``request_timeout`` is the longest a single
    create may take, in seconds; the engine keeps its lease longer than that. ``price_book`` names
    the provider whose prices apply. ``default_skus`` are the skus of deployments by purpose.
    """

    methods: tuple[str, ...]
    find: Support
    poll_many: Support
    cancel: Support
    pause: Support
    events: Support
    checkpoints: Support
    deploy: Support
    infer: Support
    batch: Support
    export: Support
    estimate: Support
    lifecycle: Support
    listing: Support
    list_lag: float = 30.0
    request_timeout: float = 60.0
    min_rows: int = 10
    max_row_tokens: int | None = None
    max_file_bytes: int | None = None
    price_book: str = ""
    default_skus: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendSpec:
    """What a plugin yields from ``understudy_backends``: data only, no import of an SDK.

    Args:
        name: what recipes write; unique over all plugins.
        target: ``"package.module:Class"`` of the ``Backend``, imported at first use.
        api: versions of this contract that it fits, as a specifier such as ``">=1,<2"``.
        requires: distributions that must be installed, as requirement strings.
        install: the command that installs what is missing, for messages.
        capabilities: what it can do.
        summary: one line for ``understudy backends``.
    """

    name: str
    target: str
    api: str
    install: str
    capabilities: Capabilities
    requires: tuple[str, ...] = ()
    summary: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One line of ``understudy doctor``: what was looked at, whether it is well, what to do."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Backend(ABC):
    """A provider that fine-tunes.

    Subclasses set ``Params`` and ``Settings``. Construction does no I/O. Instances are used from
    several threads at once.

    Args:
        name: the name under which the user configured it.
        settings: an instance of the class's ``Settings``.
        clock: the injected clock.
    """

    Params: ClassVar[type[Params]]
    Settings: ClassVar[type[Settings]]

    def __init__(self, *, name: str, settings: Any, clock: Clock) -> None:
        self.name = name
        self.settings = settings
        self.clock = clock

    @abstractmethod
    def validate(self, spec: JobSpec) -> list[Problem]:
        """Why ``spec`` cannot work, as far as can be told without network and money."""

    @abstractmethod
    def upload(self, spec: JobSpec, *, key: str) -> Handle:
        """Send the training (and validation) file for this intent alone. Unpaid; may be repeated.

        A file that an earlier call with the same ``key`` left complete is used again.
        """

    @abstractmethod
    def poll_upload(self, handle: Handle) -> UploadStatus:
        """One look at the uploaded files."""

    @abstractmethod
    def create(self, spec: JobSpec, files: Handle, *, key: str) -> Handle:
        """Start the training job: exactly one paid request, no retry.

        Raises:
            OutcomeUnknown: the request was sent and its effect is not known.
            BackendError: it was refused (terminal) or never took effect (transient).
        """

    @abstractmethod
    def poll(self, handle: Handle) -> RemoteStatus:
        """One look at the job. Never sleeps, never guesses *failed*."""

    @abstractmethod
    def model(self, handle: Handle) -> ModelRef:
        """The model that a succeeded job made. Raises ``NotFound`` while there is none."""

    def close(self) -> None:
        """Give connections back. Called once when the process is done with it."""
        return


@runtime_checkable
class SupportsFind(Protocol):
    """Can find a job by the key it was created with."""

    def find(self, key: str, files: Handle | None) -> FindResult:
        """The job created under ``key``, reading the provider's list to its end if need be.

        ``files`` is the upload made for that intent alone, the key where the wire has no
        metadata.
        """
        ...


@runtime_checkable
class SupportsPollMany(Protocol):
    """Can look at many jobs in few requests."""

    def poll_many(self, handles: Sequence[Handle]) -> Mapping[str, RemoteStatus]:
        """Statuses by handle id; an id that is left out is polled alone."""
        ...


@runtime_checkable
class SupportsCancel(Protocol):
    """Can cancel a running job."""

    def cancel(self, handle: Handle) -> None:
        """Ask for it once; already ended is not an error."""
        ...


@runtime_checkable
class SupportsPause(Protocol):
    """Can pause and resume a running job."""

    def pause(self, handle: Handle) -> None:
        """Ask for it once; already paused is not an error."""
        ...

    def resume(self, handle: Handle) -> None:
        """Ask for it once; already running is not an error."""
        ...


@runtime_checkable
class SupportsEvents(Protocol):
    """Has a training log."""

    def events(self, handle: Handle, *, after: str | None) -> Iterator[RemoteEvent]:
        """Events oldest first, those after the event id ``after`` only."""
        ...


@runtime_checkable
class SupportsCheckpoints(Protocol):
    """Keeps models of earlier steps."""

    def checkpoints(self, handle: Handle) -> list[Checkpoint]:
        """Checkpoints, earliest step first."""
        ...


@runtime_checkable
class SupportsDeploy(Protocol):
    """Its models answer only through a deployment, which is billed by the hour.

    Starting one follows the same rules as a training job: one request for one key, found again
    by that key. The model to ask is ``RemoteStatus.model`` once it has succeeded.
    """

    def start_deployment(self, spec: DeploymentSpec, *, key: str) -> Handle:
        """Exactly one request; it returns before the deployment is ready.

        Raises:
            OutcomeUnknown: the request was sent and its effect is not known.
            InvalidData: the name is taken by another model, or the sku is unknown there.
        """
        ...

    def find_deployment(self, spec: DeploymentSpec, *, key: str) -> FindResult:
        """The deployment started under ``key``."""
        ...

    def poll_deployment(self, handle: Handle) -> RemoteStatus:
        """One look.

        Running while it is made, succeeded while it serves, failed, cancelled once it is gone.
        """
        ...

    def scale_deployment(self, handle: Handle, capacity: int) -> None:
        """Ask for another capacity."""
        ...

    def stop_deployment(self, handle: Handle) -> None:
        """Take it down; the model is kept. Already gone is not an error."""
        ...

    def list_deployments(self) -> Iterator[Deployment]:
        """Every deployment of the account, ours or not."""
        ...


@runtime_checkable
class SupportsInfer(Protocol):
    """Its models answer."""

    def complete(self, request: ChatRequest, *, timeout: float) -> ChatReply:
        """One live completion, at most one request on the wire. ``timeout`` in seconds."""
        ...


@runtime_checkable
class SupportsEstimate(Protocol):
    """Knows what it will bill."""

    def estimate(self, spec: JobSpec) -> Estimate:
        """Billed tokens before anything is sent; offline."""
        ...


@runtime_checkable
class SupportsLifecycle(Protocol):
    """Knows when models go away."""

    def lifecycle(self, model: str) -> Lifecycle:
        """Dates of ``model``; one request."""
        ...


@runtime_checkable
class SupportsList(Protocol):
    """Can list the jobs of the account, for ``jobs attach`` and ``adopt``."""

    def jobs(self) -> Iterator[tuple[Handle, RemoteStatus]]:
        """All jobs, newest first."""
        ...


@runtime_checkable
class SupportsDoctor(Protocol):
    """Can say whether it is set up well."""

    def doctor(self) -> Iterable[Check]:
        """Checks in the order of dependence: endpoint, key, rights, ..."""
        ...
