"""The suite's hands at the fake provider; a worked example of a ``ProviderAdapter``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from understudy.backend import Backend, BackendSpec
from understudy.model import Handle, JobSpec, RemoteState
from understudy.testing.clock import ManualClock
from understudy.testing.fake_batches import BatchingFakeProvider
from understudy.testing.fake_batching import BATCHING_FAKE_SPEC, BatchingFakeBackend
from understudy.testing.fake_deploying import DEPLOYING_FAKE_SPEC, DeployingFakeBackend
from understudy.testing.fake_deployments import DeployingFakeProvider
from understudy.testing.fake_exporting import EXPORTING_FAKE_SPEC, ExportingFakeBackend
from understudy.testing.fake_exports import ExportingFakeProvider
from understudy.testing.fakes import (
    FAKE_SPEC,
    STATUSES,
    FakeBackend,
    FakeConnectionError,
    FakeHTTPError,
    FakeProvider,
    FakeSettings,
)
from understudy.testing.provider import ProviderAdapter
from understudy.testing.rows import chat_rows

__all__ = ["BatchingFakeAdapter", "DeployingFakeAdapter", "ExportingFakeAdapter", "FakeAdapter"]

SECRET = "sk-planted-5e1c7a9b2d4f"  # noqa: S105 - planted, to be looked for


class FakeAdapter(ProviderAdapter):
    """A fresh ``FakeProvider`` with a lagging list.

    Args:
        cls: the backend class to test against it.
        spec: what its plugin says of it.
    """

    secret = SECRET
    statuses: Mapping[str, RemoteState] = STATUSES

    def __init__(self, cls: type[FakeBackend] = FakeBackend, spec: BackendSpec = FAKE_SPEC) -> None:
        self.cls = cls
        self.backend_spec = spec
        self.clock = ManualClock()
        self.server = FakeProvider(clock=self.clock, secret=SECRET, list_lag=20)

    def fresh_backend(self) -> Backend:
        """With the planted key."""
        settings = self.cls.Settings(api_key=SecretStr(SECRET))
        assert isinstance(settings, FakeSettings)
        return self.cls(name="mine", settings=settings, clock=self.clock, provider=self.server)

    def spec(self, folder: Path) -> JobSpec:
        """Twelve rows."""
        rows = chat_rows(folder / "train.jsonl")
        return JobSpec(base_model="fake-small", method="supervised", training=rows)

    def requests(self) -> int:
        """Counted by the fake."""
        return self.server.requests

    def paid_requests(self) -> int:
        """Counted by the fake."""
        return self.server.paid_requests

    def count_jobs(self, key: str) -> int:
        """By the key in their metadata."""
        return len(self.server.jobs_of(key))

    def count_files(self) -> int:
        """All of them."""
        return len(self.server.files)

    def make_status(self, handle: Handle, raw: str) -> None:
        """The fake keeps saying it."""
        self.server.force(handle.id, raw)

    def fail_before_create(self) -> None:
        """500, no job."""
        self.server.fail(FakeHTTPError(500, "oops"), creates_only=True)

    def fail_after_create(self) -> None:
        """500, and a job."""
        self.server.fail(FakeHTTPError(500, "oops"), creates_only=True, after=True)

    def lose_reply(self) -> None:
        """No answer, and a job."""
        self.server.fail(FakeConnectionError("cut"), creates_only=True, after=True)

    def rate_limit(self, seconds: float) -> None:
        """429."""
        self.server.fail(FakeHTTPError(429, "slow down", retry_after=seconds))

    def echo_secret(self) -> None:
        """401 that repeats the key."""
        self.server.fail(FakeHTTPError(401, f"incorrect API key provided: {SECRET}"))

    def wait(self, seconds: float) -> None:
        """The clock is shared with the backend."""
        self.clock.advance(seconds)


class DeployingFakeAdapter(FakeAdapter):
    """A fresh ``DeployingFakeProvider`` with a base model's deployment of its own.

    Args:
        cls: the backend class to test against it.
        spec: what its plugin says of it.
    """

    def __init__(
        self,
        cls: type[DeployingFakeBackend] = DeployingFakeBackend,
        spec: BackendSpec = DEPLOYING_FAKE_SPEC,
    ) -> None:
        super().__init__(cls, spec)
        self.house = DeployingFakeProvider(clock=self.clock, secret=SECRET, list_lag=20)
        self.server = self.house
        self.base: str | None = None

    def answering(self, backend: Backend, spec: JobSpec) -> str:  # noqa: ARG002
        """The base model's deployment."""
        self.base = self.house.deploy_base(spec.base_model)
        return self.base

    def count_deployments(self) -> int:
        """Without the base model's."""
        return len([name for name in self.house.standing() if name != self.base])

    def fail_after_deploy(self) -> None:
        """A deployment is a create like any other here."""
        self.fail_after_create()

    def lose_deploy_reply(self) -> None:
        """As above."""
        self.lose_reply()

    def make_deployment_fail(self, handle: Handle) -> None:
        """The fake keeps saying it."""
        self.house.break_down(handle.id)


class ExportingFakeAdapter(FakeAdapter):
    """A fresh ``ExportingFakeProvider``.

    Args:
        cls: the backend class to test against it.
        spec: what its plugin says of it.
    """

    def __init__(
        self,
        cls: type[ExportingFakeBackend] = ExportingFakeBackend,
        spec: BackendSpec = EXPORTING_FAKE_SPEC,
    ) -> None:
        super().__init__(cls, spec)
        self.works = ExportingFakeProvider(clock=self.clock, secret=SECRET, list_lag=20)
        self.server = self.works

    def count_exports(self) -> int:
        """All of them."""
        return len(self.works.exports)

    def lose_export_reply(self) -> None:
        """An export is a create like any other here."""
        self.lose_reply()

    def finish_export(self, handle: Handle) -> None:  # noqa: ARG002
        """Time alone does it."""
        self.clock.advance(60)

    def make_export_fail(self, handle: Handle) -> None:
        """The fake keeps saying it."""
        self.works.break_down(handle.id)
        self.clock.advance(1)


class BatchingFakeAdapter(FakeAdapter):
    """A fresh ``BatchingFakeProvider``.

    Args:
        cls: the backend class to test against it.
        spec: what its plugin says of it.
    """

    def __init__(
        self,
        cls: type[BatchingFakeBackend] = BatchingFakeBackend,
        spec: BackendSpec = BATCHING_FAKE_SPEC,
    ) -> None:
        super().__init__(cls, spec)
        self.desk = BatchingFakeProvider(clock=self.clock, secret=SECRET, list_lag=20)
        self.server = self.desk

    def count_batches(self, key: str) -> int:
        """By the key in their metadata."""
        return len(self.desk.batches_of(key))

    def fail_after_batch(self) -> None:
        """A batch is a create like any other here."""
        self.fail_after_create()

    def lose_batch_reply(self) -> None:
        """As above."""
        self.lose_reply()

    def starve_batch(self) -> None:
        """No room at all."""
        self.desk.enqueued = 0

    def expire_batch(self) -> None:
        """Half of it is done."""
        self.desk.expires = 0.5

    def break_download(self) -> None:
        """After the first piece."""
        self.desk.cut_download()

    def lose_batch_files(self, handle: Handle) -> None:
        """Both of them."""
        self.desk.drop_files(handle.id)
