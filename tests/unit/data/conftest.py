"""Builders of rows and files for the tests of ``understudy.data``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from understudy.data import Dataset, prepare
from understudy.recipe import Cleaning, Source, Split

Prepare = Callable[..., Dataset]


def encode(rows: Iterable[Any]) -> bytes:
    return b"".join(
        row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source.jsonl"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "datasets"


@pytest.fixture
def run(source: Path, root: Path) -> Prepare:
    """``prepare`` with defaults: rows (objects or raw lines) go to a file first."""

    def call(rows: Iterable[Any] | None = None, **changes: Any) -> Dataset:
        if rows is not None:
            source.write_bytes(encode(rows))
        kind = changes.pop("kind", "chat")
        given: dict[str, Any] = {
            "source": Source(kind=kind, path=source),
            "cleaning": Cleaning(),
            "split": Split(train=1, validation=0, test=0),
            "method": "dpo" if kind == "preference" else "supervised",
            "root": root,
        }
        return prepare(**(given | changes))

    return call
