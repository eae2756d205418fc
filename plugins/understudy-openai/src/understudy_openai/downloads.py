"""Brings files: in pieces, on from where it broke off, each whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from understudy.errors import BackendError
from understudy_openai.uploads import file_name

__all__ = ["Opener", "fetch"]

Opener = Callable[[int], AbstractContextManager[Any]]
"""Opens the content from a byte on: a reply with ``status_code``, ``headers`` and
``iter_bytes``."""
_PIECE = 1 << 20
_PARTIAL = 206
_TRIES = 3
_NOTHING_MORE = 416
"""The answer to a request for what comes after the last byte: an earlier call had got it all."""


def fetch(name: str, folder: Path, *, size: int | None, opened: Opener) -> Path:
    """The file ``name`` in ``folder``, brought there if it is not there yet.

    What comes back shorter than ``size``, or ends within a row, is brought once more: if it is the
    same again, then this is what the provider has.

    Args:
        name: the provider's id of the file.
        folder: made where absent.
        size: bytes that the provider says it has, if it says so.
        opened: asks for the content.

    Raises:
        BackendError: it broke off; what came is kept, and a later call goes on from there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / file_name(name, "rows")
    if target.exists():
        return target
    part, seen = target.with_suffix(".part"), -1
    for again in range(_TRIES):
        if again:
            part.unlink()
        with part.open("ab") as file:
            _bring(file, opened)
            file.flush()
            os.fsync(file.fileno())
        found = part.stat().st_size
        if found == seen or not _is_cut(part, size):
            break
        seen = found
    part.replace(target)
    return target


def _bring(file: BinaryIO, opened: Opener) -> None:
    try:
        _append(file, opened)
    except BackendError as error:
        if error.status != _NOTHING_MORE:
            raise


def _append(file: BinaryIO, opened: Opener) -> None:
    start = file.tell()
    with opened(start) as reply:
        begins = f"bytes {start}-"
        goes_on = reply.headers.get("content-range", "").startswith(begins)
        if reply.status_code != _PARTIAL or not goes_on:
            # The server sends all of it again.
            file.truncate(0)
        # As it arrives: pieces of a size would be lost with the connection before they are full.
        file.writelines(reply.iter_bytes())


def _is_cut(path: Path, size: int | None) -> bool:
    found = path.stat().st_size
    if size and found < size:
        return True
    with path.open("rb") as file:
        file.seek(max(0, found - _PIECE))
        last = file.read().rpartition(b"\n")[2]
    if not last:
        return False
    try:
        orjson.loads(last)
    except orjson.JSONDecodeError:
        # A row longer than what was read of it cannot be judged, and is left to its reader.
        return len(last) < _PIECE
    return False
