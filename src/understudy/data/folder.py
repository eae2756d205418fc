"""Folders that appear whole or not at all, and the memory of what was prepared from what."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from understudy.errors import DataError
from understudy.model import Json

__all__ = ["Draft", "forget_dead_drafts", "recall", "remember"]

_PREFIX = ".draft-"
_LOCK = "lock"
_MANIFEST = "manifest.json"
_MEMORY = ".prepared"


class Draft:
    """A folder in the making beside its final place; gone unless it is published.

    A lock on a file inside tells the living from those that a killed process left behind.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def __enter__(self) -> Self:
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.root))
        self._lock = _take_lock(self.path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)

    def keep(self, name: str, place: Path) -> None:
        """Move one file of a draft that came to nothing out to ``place``."""
        place.parent.mkdir(exist_ok=True)
        (self.path / name).replace(place)

    def publish(self, name: str, manifest: Mapping[str, Json]) -> Path:
        """Write the manifest and give the folder its name; where there is one, it stays."""
        _write_synced(self.path / _MANIFEST, manifest)
        (self.path / _LOCK).unlink(missing_ok=True)
        _sync_folder(self.path)
        place = self.root / name
        try:
            self.path.rename(place)
        except OSError as error:
            # A folder with files in it cannot be renamed onto: somebody was first.
            if not (place / _MANIFEST).is_file():
                raise DataError(
                    f"cannot be given to the dataset ({error.strerror}); remove it and run again",
                    file=place,
                ) from None
        _sync_folder(self.root)
        return place


def forget_dead_drafts(root: Path) -> None:
    """Remove what killed processes left under ``root``."""
    for path in root.glob(f"{_PREFIX}*"):
        lock = _take_lock(path)
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def recall(root: Path, key: str) -> Path | None:
    """The folder that was made for ``key``, if it is still there."""
    try:
        name = orjson.loads((root / _MEMORY / f"{key}.json").read_bytes())["id"]
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return None
    folder = root / str(name)
    return folder if (folder / _MANIFEST).is_file() else None


def remember(root: Path, key: str, folder: Path) -> None:
    """Note that ``key`` makes ``folder``."""
    memory = root / _MEMORY
    memory.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(dir=memory)
    os.close(handle)
    _write_synced(Path(name), {"id": folder.name})
    Path(name).replace(memory / f"{key}.json")
    _sync_folder(memory)


def _take_lock(folder: Path) -> int | None:
    """A lock on the folder, or None where a living process has it or it is gone."""
    try:
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _write_synced(path: Path, value: Mapping[str, Json]) -> None:
    with path.open("wb") as file:
        file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
