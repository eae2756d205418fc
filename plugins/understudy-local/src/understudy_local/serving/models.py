"""Which file answers for a model's id."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import NotFound
from understudy_local import students
from understudy_local.artifacts import Home, ModelName
from understudy_local.formats import FORMATS, FileName, gguf_file

__all__ = ["Served", "served"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A GGUF file that answers. ``name`` is what it is asked for as."""

    name: str
    path: Path

    @property
    def id(self) -> str:
        """Of its server: another file at the same place is another server."""
        now = self.path.stat()
        told = f"{self.path} {now.st_size} {now.st_mtime_ns}"
        return hashlib.sha256(told.encode()).hexdigest()[:32]


def served(home: Home, model: str) -> Served:
    """The file behind ``model``: an exported model, a GGUF file, or a student that is one.

    Raises:
        NotFound: there is none, and what to do.
    """
    name = FileName.parse(model)
    if name is not None:
        return Served(name=model, path=_exported(home, name))
    if ModelName.parse(model) is not None:
        raise NotFound(
            f"{model} is an adapter; its GGUF files answer. Say which: {model}:q4_k_m, say"
        )
    source = students.locate(model)
    if source.kind != "gguf":
        raise NotFound(
            f"{model} is not a GGUF file, so llama.cpp cannot answer for it untrained. Leave it "
            "out of the evaluation (compare_base = false), or take a student that is one"
        )
    return Served(name=model, path=Path(source.at))


def _exported(home: Home, name: FileName) -> Path:
    trained = ModelName.parse(name.model)
    assert trained is not None
    folder = home.job(trained.job)
    path = gguf_file(folder, trained.step, name.format)
    if path.is_file():
        return path
    there = [one for one in FORMATS if gguf_file(folder, trained.step, one).is_file()]
    hint = f"there are: {', '.join(there)}" if there else "it was not exported"
    raise NotFound(
        f"there is no {name.format} file of {name.model} in {folder.gguf} ({hint}); name it in "
        "[export] formats and run the recipe again, or set home in [backends.local] if the "
        "folder was moved"
    )
