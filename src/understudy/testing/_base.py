"""What all parts of the suite share: fixtures, and a few steps that many tests take."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.backend import Backend, Capabilities, Support, SupportsFind
from understudy.model import Absent, Found, Handle, JobSpec, RemoteState, UploadPending, UploadReady
from understudy.testing.provider import ProviderAdapter

__all__ = ["KEY", "Base", "find", "need", "raw_for", "upload"]

KEY = "us-conformance-0001"


class Base:
    """Fixtures. ``backend`` and ``provider`` are given by the subclass."""

    @pytest.fixture
    def provider(self) -> ProviderAdapter:
        """The adapter to the provider: give one in the subclass."""
        pytest.fail("give BackendSuite a fixture `provider` that returns a ProviderAdapter")

    @pytest.fixture
    def backend(self, provider: ProviderAdapter) -> Backend:
        """The backend under test: a fresh one unless the subclass gives another."""
        return provider.fresh_backend()

    @pytest.fixture
    def capabilities(self, provider: ProviderAdapter) -> Capabilities:
        """What the plugin says that the backend can do."""
        return provider.backend_spec.capabilities

    @pytest.fixture
    def spec(self, provider: ProviderAdapter, tmp_path: Path) -> JobSpec:
        """A small valid job."""
        return provider.spec(tmp_path)

    @pytest.fixture
    def files(self, backend: Backend, provider: ProviderAdapter, spec: JobSpec) -> Handle:
        """Its files, uploaded and taken in."""
        return upload(backend, provider, spec, KEY)

    @pytest.fixture
    def job(self, backend: Backend, spec: JobSpec, files: Handle) -> Handle:
        """Its job, created under ``KEY``."""
        return backend.create(spec, files, key=KEY)


def upload(backend: Backend, provider: ProviderAdapter, spec: JobSpec, key: str) -> Handle:
    """Upload and look until the provider has taken the files in."""
    handle = backend.upload(spec, key=key)
    for _ in range(20):
        status = backend.poll_upload(handle)
        if not isinstance(status, UploadPending):
            break
        provider.wait(status.retry_after or 1)
    assert isinstance(status, UploadReady), f"the upload ended as {status}"
    return handle


def find(
    backend: Backend,
    provider: ProviderAdapter,
    key: str,
    files: Handle | None,
) -> Found | Absent:
    """Ask as the engine does: until the backend is sure, over the stated lag of the list."""
    capabilities = provider.backend_spec.capabilities
    need(capabilities.find)
    assert isinstance(backend, SupportsFind)
    provider.wait(capabilities.list_lag + 1)
    result = backend.find(key, files)
    for _ in range(20):
        if isinstance(result, Found | Absent):
            return result
        provider.wait(result.retry_after)
        result = backend.find(key, files)
    pytest.fail("find still says NotYet after twenty looks")


def need(support: Support) -> None:
    """Skip, with the backend's own reason, what it says that it cannot do."""
    if not support.ok:
        pytest.skip(support.reason or "not supported, and no reason is given")


def raw_for(provider: ProviderAdapter, state: RemoteState) -> str:
    """A status of the provider that means ``state``."""
    for raw, meaning in provider.statuses.items():
        if meaning is state:
            return raw
    pytest.skip(f"the provider documents no status that means {state.value!r}")
