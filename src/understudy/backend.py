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
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from understudy.model import (
    BatchLimits,
    Handle,
    JobSpec,
    ModelRef,
    Problem,
    RemoteStatus,
    UploadStatus,
)
from understudy.supports import (
    Check,
    FindResult,
    SupportsBatch,
    SupportsCancel,
    SupportsCheckpoints,
    SupportsDeploy,
    SupportsDoctor,
    SupportsEstimate,
    SupportsEvents,
    SupportsExport,
    SupportsFind,
    SupportsInfer,
    SupportsLifecycle,
    SupportsList,
    SupportsPause,
    SupportsPollMany,
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
    "SupportsBatch",
    "SupportsCancel",
    "SupportsCheckpoints",
    "SupportsDeploy",
    "SupportsDoctor",
    "SupportsEstimate",
    "SupportsEvents",
    "SupportsExport",
    "SupportsFind",
    "SupportsInfer",
    "SupportsLifecycle",
    "SupportsList",
    "SupportsPause",
    "SupportsPollMany",
]

API_VERSION = "1.0"
"""Version of this contract. A plugin says which versions it fits (``BackendSpec.api``)."""


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
    ``batch_limits`` are the published ones; ``SupportsBatch.batch_limits`` tells those in force.
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
    batch_limits: BatchLimits | None = None
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
