"""The pytest plugin: a marker and nothing else until a test asks for more.

It is loaded into every pytest run on a machine that has Understudy installed, so it imports
nothing of Understudy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["pytest_configure"]


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that ``BackendSuite`` puts on its tests."""
    config.addinivalue_line(
        "markers", "understudy_contract: a line of the backend contract (understudy.testing)"
    )
