"""The whole contract of a backend, held by the kit, against the sandbox's Azure."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("understudy_sandbox", reason="needs the sandbox plugin")

from azure_sandbox_kit import AzureAdapter
from openai_sandbox_kit import thread_sandbox
from understudy.testing import BackendSuite, ProviderAdapter


class _Suite(BackendSuite):
    surface: str

    @pytest.fixture
    def provider(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderAdapter]:
        with thread_sandbox() as sandbox:
            # Managed identity: tokens for ARM over plain http on this machine.
            monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", sandbox.azure_url)
            yield from AzureAdapter(sandbox, surface=self.surface).lent()


class TestV1(_Suite):
    """On ``/openai/v1``."""

    surface = "v1"


class TestClassic(_Suite):
    """On the paths with an ``api-version``."""

    surface = "classic"


del _Suite
