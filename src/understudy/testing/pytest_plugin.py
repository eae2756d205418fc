"""The pytest plugin: a marker and nothing else until a test asks for more.

It is loaded into every pytest run on a machine that has Understudy installed, so it imports
nothing of Understudy.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["pytest_configure"]


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of ``BackendSuite`` and let its asserts show what they compared."""
    import pytest

    backends = ("_base", "_create", "_deploy", "_poll", "_secrets")
    caches = ("_cache_generations", "_cache_tail", "_cache_writer", "cache_store")
    suites = [f"understudy.testing.{name}" for name in (*backends, *caches)]
    pytest.register_assert_rewrite(*(name for name in suites if name not in sys.modules))
    config.addinivalue_line(
        "markers", "understudy_contract: a line of the backend contract (understudy.testing)"
    )
