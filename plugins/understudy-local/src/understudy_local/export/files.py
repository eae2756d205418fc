"""Files that are made once: written beside their place, hashed, and only then put there.

Each has a note beside it, ``NAME.json``, with its sha256 and what it was made of. A file is taken
as it is only while its note says that it was made of the same things, and its size agrees.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from understudy_local.artifacts import read_json, sha256_of, write_json

__all__ = ["discard", "made_once", "size_of"]


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def made_once(
    path: Path, made_of: Mapping[str, Any], make: Callable[[Path], None], *, proof: str = ""
) -> dict[str, Any]:
    """The note of ``path``; ``make`` writes it if it is not there, or was made of other things.

    Args:
        path: a file or a folder.
        made_of: what decides its content, as JSON.
        make: writes it to the place that it is given.
        proof: of a folder, the file whose sha256 stands for it.
    """
    note = read_json(_note(path))
    if note is not None and note["made_of"] == dict(made_of) and size_of(path) == note["bytes"]:
        return note
    part = path.with_name(f".part-{path.name}")
    discard(path)
    _remove(part)
    path.parent.mkdir(parents=True, exist_ok=True)
    make(part)
    told = {
        "sha256": sha256_of(part / proof if proof else part),
        "bytes": size_of(part),
        "made_of": dict(made_of),
    }
    part.rename(path)
    write_json(_note(path), told)
    return told


def discard(path: Path) -> None:
    """Remove a file or folder and its note, so that it is made anew."""
    _note(path).unlink(missing_ok=True)
    _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 where there is nothing."""
    if path.is_dir():
        return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    return path.stat().st_size if path.exists() else 0
