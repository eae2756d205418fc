"""The whole contract of a backend, held by the kit, against the sandbox's Azure."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest

pytest.importorskip("understudy_sandbox", reason="needs the sandbox plugin")

from azure_sandbox_kit import AzureAdapter, thread_sandbox
from understudy.testing import BackendSuite, ProviderAdapter

pytestmark = pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")


@pytest.fixture(scope="module", autouse=True)
def _swept() -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        # What the server left for the collector is not this plugin's to answer for.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class _Suite(BackendSuite):
    surface: str

    @pytest.fixture
    def provider(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderAdapter]:
        with thread_sandbox() as sandbox:
            # Managed identity: tokens for ARM over plain http on this machine.
            monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", sandbox.azure_url)
            adapter = AzureAdapter(sandbox, surface=self.surface)
            yield adapter
            for backend in adapter.made:
                backend.close()


class TestV1(_Suite):
    """On ``/openai/v1``."""

    surface = "v1"


class TestClassic(_Suite):
    """On the paths with an ``api-version``."""

    surface = "classic"


del _Suite
