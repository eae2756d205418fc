"""Exports: a trained model as files that other programs load, each held against the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from understudy.model.chat import Json

__all__ = ["ExportSpec", "ExportedFile", "ModelExport"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportSpec:
    """Files that are wanted of a trained model.

    ``formats`` are the backend's names of them; ``serve``, one of them, is the one that answers.
    ``held_out`` is a JSONL file with that ``held_out_sha256`` whose rows have ``messages`` (the
    question), ``tools`` and ``label`` (the wanted answer); the first ``rows`` of them are asked
    of the trained model and of every file, greedily, with answers of at most
    ``max_output_tokens`` tokens. ``name`` is what the user calls the model.
    """

    model: str
    base_model: str
    name: str
    formats: tuple[str, ...]
    serve: str
    held_out: str
    held_out_sha256: str
    rows: int
    max_output_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedFile:
    """One file that an export made.

    ``answers`` says whether the held-out questions were asked of it; ``measures`` are the
    backend's own figures of how near it is to the trained model, by name.
    """

    format: str
    path: str
    sha256: str
    bytes: int
    answers: bool = True
    measures: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelExport:
    """What an export made. ``model`` is the id under which the format to serve answers."""

    model: str
    files: tuple[ExportedFile, ...]
