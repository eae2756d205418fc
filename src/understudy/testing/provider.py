"""What the conformance suite must be able to see and provoke at a provider."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from understudy.backend import Backend, BackendSpec
from understudy.model import Handle, JobSpec, RemoteState

__all__ = ["ProviderAdapter"]


_BATCHES = "the backend says that it batches: its ProviderAdapter must say how to provoke this"
_DEPLOYS = "the backend says that it deploys: its ProviderAdapter must say how to provoke this"
_EXPORTS = "the backend says that it exports: its ProviderAdapter must say how to provoke this"


class ProviderAdapter(ABC):
    """Hands of the suite at the provider that a backend talks to: a fake, or a local server.

    Attributes:
        backend_spec: what the plugin yields for this backend.
        secret: a credential that the backends made here use. It must be found nowhere.
        statuses: every status that the provider documents, with what it means.
    """

    backend_spec: BackendSpec
    secret: str
    statuses: Mapping[str, RemoteState]

    @abstractmethod
    def fresh_backend(self) -> Backend:
        """A new instance with the same settings, as another process would make it."""

    @abstractmethod
    def spec(self, folder: Path) -> JobSpec:
        """A small valid job; its files are written into ``folder``."""

    @abstractmethod
    def requests(self) -> int:
        """How many requests the provider has received so far."""

    @abstractmethod
    def paid_requests(self) -> int:
        """How many of them could start paid work (a job, a deployment), whatever was answered."""

    @abstractmethod
    def count_jobs(self, key: str) -> int:
        """How many jobs exist that were created under ``key``."""

    @abstractmethod
    def count_files(self) -> int:
        """How many files exist."""

    @abstractmethod
    def make_status(self, handle: Handle, raw: str) -> None:
        """Let the job say ``raw`` from now on. A status that means success comes with a model."""

    @abstractmethod
    def fail_before_create(self) -> None:
        """Answer the next create with 500 and make no job."""

    @abstractmethod
    def fail_after_create(self) -> None:
        """Make the job of the next create, then answer 500."""

    @abstractmethod
    def lose_reply(self) -> None:
        """Make the job of the next create, then cut the connection without an answer."""

    @abstractmethod
    def rate_limit(self, seconds: float) -> None:
        """Answer the next request with 429 and ``retry-after: seconds``."""

    @abstractmethod
    def echo_secret(self) -> None:
        """Answer the next request with 401 and a body that repeats ``secret``."""

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Let ``seconds`` go by on the provider's clock (not on the wall)."""

    def answering(self, backend: Backend, spec: JobSpec) -> str:  # noqa: ARG002
        """Name of a model that answers at once; a deployment's, where only those answer."""
        return spec.base_model

    # Only for backends whose models are files.

    def count_exports(self) -> int:
        """How many exports were started."""
        raise NotImplementedError(_EXPORTS)

    def lose_export_reply(self) -> None:
        """Start the export that is asked for next, then let the caller not know."""
        raise NotImplementedError(_EXPORTS)

    def finish_export(self, handle: Handle) -> None:
        """Bring the export to its good end."""
        raise NotImplementedError(_EXPORTS)

    def make_export_fail(self, handle: Handle) -> None:
        """Let the export end as failed, with a reason."""
        raise NotImplementedError(_EXPORTS)

    # Only for backends that deploy.

    def count_deployments(self) -> int:
        """How many deployments of fine-tuned models stand at the provider."""
        raise NotImplementedError(_DEPLOYS)

    def fail_after_deploy(self) -> None:
        """Make the deployment that is asked for next, then answer 500."""
        raise NotImplementedError(_DEPLOYS)

    def lose_deploy_reply(self) -> None:
        """Make the deployment that is asked for next, then cut the connection."""
        raise NotImplementedError(_DEPLOYS)

    def make_deployment_fail(self, handle: Handle) -> None:
        """Let the deployment end as failed, with a reason."""
        raise NotImplementedError(_DEPLOYS)

    # Only for backends that take batches.

    def batch_model(self, backend: Backend, spec: JobSpec) -> str:  # noqa: ARG002
        """Name of a model that can be asked by batch."""
        return spec.base_model

    def count_batches(self, key: str) -> int:
        """How many batches exist that were started under ``key``."""
        raise NotImplementedError(_BATCHES)

    def fail_after_batch(self) -> None:
        """Make the batch that is asked for next, then answer 500."""
        raise NotImplementedError(_BATCHES)

    def lose_batch_reply(self) -> None:
        """Make the batch that is asked for next, then cut the connection."""
        raise NotImplementedError(_BATCHES)

    def starve_batch(self) -> None:
        """Let the batch that is asked for next be taken, and fail for the enqueued-token limit."""
        raise NotImplementedError(_BATCHES)

    def expire_batch(self) -> None:
        """Let the batch that is asked for next expire with a part of its rows answered."""
        raise NotImplementedError(_BATCHES)

    def break_download(self) -> None:
        """Cut the next download of a file in its middle."""
        raise NotImplementedError(_BATCHES)

    def lose_batch_files(self, handle: Handle) -> None:
        """Delete what the batch, which has ended, gave back."""
        raise NotImplementedError(_BATCHES)
