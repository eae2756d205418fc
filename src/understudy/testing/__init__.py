"""The public kit for plugin authors: a conformance suite, fakes and a clock.

Subclass ``BackendSuite``, give it a ``provider`` fixture (a ``ProviderAdapter``) and a ``backend``
fixture, and pytest tests the whole contract::

    class TestMine(BackendSuite):
        @pytest.fixture
        def provider(self): return MyAdapter(...)
        @pytest.fixture
        def backend(self, provider): return provider.fresh_backend()

A deviation that cannot be helped is marked with ``pytest.mark.xfail(reason=...)`` on an override
of that one test. Needs pytest; nothing outside of tests imports this package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.testing.cache_store import CacheStoreSuite
    from understudy.testing.clock import ManualClock
    from understudy.testing.fake_adapter import (
        BatchingFakeAdapter,
        DeployingFakeAdapter,
        ExportingFakeAdapter,
        FakeAdapter,
    )
    from understudy.testing.fake_batches import BatchingFakeProvider
    from understudy.testing.fake_batching import BatchingFakeBackend
    from understudy.testing.fake_deploying import DeployingFakeBackend
    from understudy.testing.fake_deployments import DeployingFakeProvider
    from understudy.testing.fake_exporting import ExportingFakeBackend
    from understudy.testing.fake_exports import ExportingFakeProvider
    from understudy.testing.fakes import FakeBackend, FakeProvider
    from understudy.testing.provider import ProviderAdapter
    from understudy.testing.rows import chat_rows
    from understudy.testing.suite import BackendSuite

__all__ = [
    "BackendSuite",
    "BatchingFakeAdapter",
    "BatchingFakeBackend",
    "BatchingFakeProvider",
    "CacheStoreSuite",
    "DeployingFakeAdapter",
    "DeployingFakeBackend",
    "DeployingFakeProvider",
    "ExportingFakeAdapter",
    "ExportingFakeBackend",
    "ExportingFakeProvider",
    "FakeAdapter",
    "FakeBackend",
    "FakeProvider",
    "ManualClock",
    "ProviderAdapter",
    "chat_rows",
]

_MODULE_OF = {
    "BackendSuite": "suite",
    "BatchingFakeAdapter": "fake_adapter",
    "BatchingFakeBackend": "fake_batching",
    "BatchingFakeProvider": "fake_batches",
    "CacheStoreSuite": "cache_store",
    "DeployingFakeAdapter": "fake_adapter",
    "DeployingFakeBackend": "fake_deploying",
    "DeployingFakeProvider": "fake_deployments",
    "ExportingFakeAdapter": "fake_adapter",
    "ExportingFakeBackend": "fake_exporting",
    "ExportingFakeProvider": "fake_exports",
    "FakeAdapter": "fake_adapter",
    "FakeBackend": "fakes",
    "FakeProvider": "fakes",
    "ManualClock": "clock",
    "ProviderAdapter": "provider",
    "chat_rows": "rows",
}


def __getattr__(name: str) -> Any:
    # BackendSuite needs pytest, the fakes do not: each is imported only when it is asked for.
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
