"""The whole contract of a backend, held by the kit."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_adapter_kit import FolderAdapter
from understudy.testing import BackendSuite, ProviderAdapter


class TestLocal(BackendSuite):
    """On a folder of its own for each line."""

    @pytest.fixture
    def provider(self, tmp_path: Path) -> ProviderAdapter:
        return FolderAdapter(tmp_path / "home")

    @pytest.mark.xfail(reason="nothing limits how often one may look at one's own disk")
    def test_rate_limit_is_reported_and_not_waited_for(self, backend, provider, job):
        super().test_rate_limit_is_reported_and_not_waited_for(backend, provider, job)
