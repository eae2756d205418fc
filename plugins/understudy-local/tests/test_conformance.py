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

    @pytest.mark.xfail(reason="nothing limits how often one may ask one's own server")
    def test_rate_limited_completion_is_not_retried(self, backend, provider, capabilities, spec):
        super().test_rate_limited_completion_is_not_retried(backend, provider, capabilities, spec)

    @pytest.mark.xfail(reason="nothing limits how many batches one may start on one's own machine")
    def test_rate_limited_batch_is_not_resent(self, batcher, provider, batch_spec, batch_files):
        super().test_rate_limited_batch_is_not_resent(batcher, provider, batch_spec, batch_files)

    @pytest.mark.xfail(reason="there is no quota on one's own machine")
    def test_batch_over_the_quota_says_so(self, batcher, provider, batch_spec, batch_files):
        super().test_batch_over_the_quota_says_so(batcher, provider, batch_spec, batch_files)

    @pytest.mark.xfail(reason="a local batch does not expire")
    def test_expired_batch_keeps_its_part(
        self, batcher, provider, batch_spec, batch_files, tmp_path
    ):
        super().test_expired_batch_keeps_its_part(
            batcher, provider, batch_spec, batch_files, tmp_path
        )
