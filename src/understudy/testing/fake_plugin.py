"""The fake backend as a plugin: ``EntryPoint("fake", "understudy.testing.fake_plugin", ...)``."""

from __future__ import annotations

from collections.abc import Iterable

from understudy.backend import BackendSpec
from understudy.hookspecs import hookimpl
from understudy.testing.fake_backend import FAKE_SPEC

__all__ = ["understudy_backends"]


@hookimpl
def understudy_backends() -> Iterable[BackendSpec]:
    """Yield the fake backend."""
    yield FAKE_SPEC
