from __future__ import annotations

import pytest

from understudy.testing import BackendSuite, FakeAdapter, ProviderAdapter


class TestFakeConforms(BackendSuite):
    @pytest.fixture
    def provider(self) -> ProviderAdapter:
        return FakeAdapter()
