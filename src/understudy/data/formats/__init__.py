"""Training rows as each ecosystem writes them, and back.

``openai`` (Azure takes the same rows), ``vertex`` and ``trl`` each have ``write(example, method)``
and ``read(row, method)``. What one cannot say is an error in words, never left out in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal

from understudy.data.formats import openai, trl, vertex
from understudy.data.formats.limits import LIMITS, Limits, check_rows
from understudy.model import Example, Method

__all__ = ["FORMATS", "LIMITS", "Format", "Limits", "check_rows", "read_row", "row_writer"]

Format = Literal["openai", "vertex", "trl"]

FORMATS: dict[Format, ModuleType] = {"openai": openai, "vertex": vertex, "trl": trl}


def row_writer(to: Format, method: Method) -> Callable[[Example], dict[str, Any]]:
    """The function that writes an example as a row of that format.

    Raises:
        RowError: (the function) the format has no such row, or cannot hold this one.
    """
    write: Callable[[Example, Method], dict[str, Any]] = FORMATS[to].write
    return lambda example: write(example, method)


def read_row(row: dict[str, Any], of: Format, method: Method) -> Example:
    """The example that a row of that format holds.

    Raises:
        RowError: the row is malformed; names the field in the one form of messages.
    """
    read: Callable[[dict[str, Any], Method], Example] = FORMATS[of].read
    return read(row, method)
