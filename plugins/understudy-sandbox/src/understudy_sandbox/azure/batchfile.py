"""What Azure does to the files of a batch: rows in another order and without id, errors empty."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson

from understudy_sandbox.azure.views import azure_completion
from understudy_sandbox.batchresults import Delivered

_REORDERED = 500  # rows at a time: in memory, and as far as a row may stray


def as_azure(found: Delivered, folder: Path) -> Delivered:
    """The files of a batch as Azure gives them; the error file is there even if it is empty.

    Args:
        found: what the batch made; its files are replaced.
        folder: where new files are made.
    """
    output = _rewritten(found.output, folder) if found.output else None
    errors = _rewritten(found.errors, folder) if found.errors else _empty(folder)
    return replace(found, output=output, errors=errors)


def _empty(folder: Path) -> Path:
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as stream:
        return Path(stream.name)


def _chunks(lines: IO[bytes]) -> Iterator[list[bytes]]:
    while chunk := list(islice(lines, _REORDERED)):
        yield chunk


def _row(line: bytes) -> dict[str, Any]:
    row: dict[str, Any] = orjson.loads(line)
    del row["id"]
    response = row["response"]
    if response and response["status_code"] == 200:
        response["body"] = azure_completion(response["body"])
    return row


def _rewritten(source: Path, folder: Path) -> Path:
    with (
        source.open("rb") as lines,
        tempfile.NamedTemporaryFile(dir=folder, delete=False) as target,
    ):
        for chunk in _chunks(lines):
            target.writelines(orjson.dumps(_row(line)) + b"\n" for line in reversed(chunk))
    source.unlink()
    return Path(target.name)
