"""What the formats of an export share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from understudy.errors import DataError
from understudy.model import Json

__all__ = ["AT_ONCE", "FORMAT", "as_object", "damaged", "reading"]

FORMAT = 1
"""Of the files' own form, in their head."""

AT_ONCE = 10_000
"""Rows held in memory."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Trouble of opening a file, in words."""
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}; check the path", file=path) from None


def as_object(value: Json) -> Mapping[str, Json]:
    """``value`` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def damaged(path: Path, number: int | None, field: str | None, what: str) -> DataError:
    """The error for a row that cannot be read."""
    return DataError(
        f"{what}; mend it or export the cache again. Nothing was published",
        file=path,
        line=number,
        field=field,
    )
