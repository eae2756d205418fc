"""What a backend may do beside training: one protocol each, found by ``isinstance``.

Re-exported by ``understudy.backend``, where the contract begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from understudy.model import (
    Absent,
    BatchFiles,
    BatchLimits,
    BatchReply,
    BatchSpec,
    BatchStatus,
    ChatReply,
    ChatRequest,
    Checkpoint,
    Deployment,
    DeploymentSpec,
    Estimate,
    ExportSpec,
    Found,
    Handle,
    JobSpec,
    Json,
    Lifecycle,
    ModelExport,
    NotYet,
    RemoteEvent,
    RemoteStatus,
    UploadStatus,
)

__all__ = [
    "Check",
    "FindResult",
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

FindResult = Found | NotYet | Absent


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One line of ``understudy doctor``: what was looked at, whether it is well, what to do."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


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
class SupportsExport(Protocol):
    """Its models are files, and answer as one of them: registering a model exports it first.

    Starting an export follows the rules of a training job: one key is one export, found again by
    that key. The backend proves that each file is the trained model still, as far as logits can
    tell; an export with a file that is not has failed. The task's score is judged by the engine,
    from the answers.
    """

    def export_formats(self) -> tuple[str, ...]:
        """The formats that it can make; offline."""
        ...

    def start_export(self, spec: ExportSpec, *, key: str) -> Handle:
        """Exactly one start; it returns before anything is made.

        Raises:
            OutcomeUnknown: it may or may not have been started.
            InvalidData: a format is not known there, or the model cannot be exported.
        """
        ...

    def find_export(self, spec: ExportSpec, *, key: str) -> FindResult:
        """The export started under ``key``."""
        ...

    def poll_export(self, handle: Handle) -> RemoteStatus:
        """One look. ``progress`` counts the export's steps; ``raw`` names the present one."""
        ...

    def exported(self, handle: Handle) -> ModelExport:
        """What a succeeded export made. Raises ``NotFound`` while there is nothing."""
        ...

    def export_answers(self, handle: Handle, source: str) -> Iterator[str]:
        """The answers to the held-out questions, in their order, streamed.

        ``source`` is a format, or ``"trained"`` for the model before it was exported.
        """
        ...

    def describe_export(self, handle: Handle, card: Mapping[str, Json]) -> None:
        """Write the model card beside the files; again replaces it.

        ``card`` has ``name``, ``lineage`` and, by format and for ``"trained"``, ``scores``.
        """
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


@runtime_checkable
class SupportsBatch(Protocol):
    """Answers many requests offline, cheaper.

    A batch follows the rules of a training job: its file is uploaded for this intent alone, one
    request starts it, and it is found again by its key or by that file. ``Capabilities.list_lag``
    holds for the list of batches too. A file names one model unless the limits say otherwise.
    """

    def batch_limits(self, model: str) -> BatchLimits:
        """What a batch of ``model`` may hold; offline.

        Raises:
            NotEligible: this model cannot be asked by batch, and why.
        """
        ...

    def batch_row(self, request: ChatRequest, *, custom_id: str) -> Mapping[str, Json]:
        """The row of a batch file that asks ``request``; pure, the texts stand in it as given."""
        ...

    def batch_reply(self, row: Json) -> BatchReply:
        """What a parsed row of ``fetch_batch``'s files says; pure, so any process may do it.

        Where the provider gives no usage it is all zero and marked ``usage_counted_here``: the
        caller counts, it has the request.

        Raises:
            DataError: the row names no request, so it counts as lost.
        """
        ...

    def upload_batch(self, spec: BatchSpec, *, key: str) -> Handle:
        """Send the file for this intent alone. Unpaid; may be repeated.

        A file that an earlier call with the same ``key`` left complete is used again.
        """
        ...

    def poll_batch_upload(self, handle: Handle) -> UploadStatus:
        """One look at the uploaded file."""
        ...

    def start_batch(self, spec: BatchSpec, files: Handle, *, key: str) -> Handle:
        """Exactly one request, no retry. A batch may fail for its size after that: see poll.

        Raises:
            OutcomeUnknown: the request was sent and its effect is not known.
            RateLimited: too many batches or enqueued tokens for now; nothing was started.
        """
        ...

    def find_batch(self, key: str, files: Handle | None) -> FindResult:
        """The batch started under ``key``, reading the provider's list to its end if need be."""
        ...

    def poll_batch(self, handle: Handle) -> BatchStatus:
        """One look."""
        ...

    def cancel_batch(self, handle: Handle) -> None:
        """Ask for it once; already ended is not an error."""
        ...

    def fetch_batch(self, handle: Handle, folder: Path) -> BatchFiles:
        """Bring what came back into ``folder``: output and errors, each whole or not at all.

        A file that lies there whole is not fetched again, and one that broke off goes on from
        where it broke off; the folder belongs to this batch. Memory is bounded.

        Raises:
            Unavailable: it broke off, or came back shorter than the provider says it is.
            NotFound: the provider does not know the batch.
        """
        ...
