from __future__ import annotations

import pytest

from understudy.testing import (
    BackendSuite,
    BatchingFakeAdapter,
    DeployingFakeAdapter,
    ExportingFakeAdapter,
    FakeAdapter,
    ProviderAdapter,
)


class TestFakeConforms(BackendSuite):
    @pytest.fixture
    def provider(self) -> ProviderAdapter:
        return FakeAdapter()


class TestDeployingFakeConforms(BackendSuite):
    @pytest.fixture
    def provider(self) -> ProviderAdapter:
        return DeployingFakeAdapter()


class TestExportingFakeConforms(BackendSuite):
    @pytest.fixture
    def provider(self) -> ProviderAdapter:
        return ExportingFakeAdapter()


class TestBatchingFakeConforms(BackendSuite):
    @pytest.fixture
    def provider(self) -> ProviderAdapter:
        return BatchingFakeAdapter()
