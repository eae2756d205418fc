"""The fakes in one place: a provider in memory and the backend that drives it."""

from __future__ import annotations

from understudy.testing.fake_backend import (
    FAKE_SPEC,
    STATUSES,
    FakeBackend,
    FakeParams,
    FakeSettings,
)
from understudy.testing.fake_provider import (
    SCRIPT,
    FakeConnectionError,
    FakeHTTPError,
    FakeProvider,
)

__all__ = [
    "FAKE_SPEC",
    "SCRIPT",
    "STATUSES",
    "FakeBackend",
    "FakeConnectionError",
    "FakeHTTPError",
    "FakeParams",
    "FakeProvider",
    "FakeSettings",
]
