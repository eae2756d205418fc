"""The whole contract of a backend, held by the kit, against the sandbox provider."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("understudy_sandbox", reason="needs the sandbox plugin")

from openai_adapter_kit import SandboxAdapter
from openai_sandbox_kit import thread_sandbox
from understudy.testing import BackendSuite, ProviderAdapter


class TestOpenAI(BackendSuite):
    """On a sandbox of its own for each line, with jobs and files of no other."""

    @pytest.fixture
    def provider(self) -> Iterator[ProviderAdapter]:
        with thread_sandbox() as sandbox:
            yield from SandboxAdapter(sandbox).lent()
