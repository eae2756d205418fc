"""Daft, imported where it is needed and not before: it takes half a second."""

from __future__ import annotations

import os
from types import ModuleType

from understudy.errors import ConfigError

__all__ = ["load_daft"]


def load_daft(needed_by: str) -> ModuleType:
    """The library.

    Raises:
        ConfigError: it is not installed; says what wants it.
    """
    # It draws a bar of its own unless told not to.
    os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
    try:
        import daft
    except ImportError:
        raise ConfigError(
            f"{needed_by} needs Daft, which is not installed; run: pip install 'understudy[data]'"
        ) from None
    return daft
