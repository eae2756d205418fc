"""Faults of a batch's files: in another order, cut, empty, without usage."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson

from understudy_sandbox.batchresults import Delivered, FaultsOf

ROW_FAULTS = frozenset({"lose_rows", "expire_batch", "fail_rows", "filter_rows"})
FILE_FAULTS = frozenset({"reorder_rows", "no_usage", "truncate_output", "empty_error_file"})
BATCH_FAULTS = frozenset(
    {"no_output_file", "expire_files", "over_quota", "zero_counts", "cancel_batch"}
)
KINDS = ROW_FAULTS | FILE_FAULTS | BATCH_FAULTS
"""What a rule may do to a batch when it is created."""
_SEED = 7


def bent(found: Delivered, faults: FaultsOf, folder: Path) -> Delivered:
    """The files with the faults of the batch.

    Args:
        found: what it delivers; its files are replaced.
        faults: its faults.
        folder: where new files are made.
    """
    output, errors = found.output, found.errors
    if output is not None and "no_usage" in faults:
        output = _rewritten(output, folder, _without_usage)
    if output is not None and "reorder_rows" in faults:
        output = _shuffled(output, folder)
    if output is not None and "truncate_output" in faults:
        _cut(output, float(faults["truncate_output"]["fraction"]))
    if errors is None and "empty_error_file" in faults:
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as empty:
            errors = Path(empty.name)
    return replace(found, output=output, errors=errors)


def _rewritten(source: Path, folder: Path, change: Callable[[bytes], bytes]) -> Path:
    with (
        source.open("rb") as lines,
        tempfile.NamedTemporaryFile(dir=folder, delete=False) as target,
    ):
        target.writelines(change(line) for line in lines)
    source.unlink()
    return Path(target.name)


def _without_usage(line: bytes) -> bytes:
    row = orjson.loads(line)
    row["response"]["body"].pop("usage", None)
    return orjson.dumps(row) + b"\n"


def _shuffled(source: Path, folder: Path) -> Path:
    """The rows in an order of their own; only their places are in memory."""
    with (
        source.open("rb") as lines,
        tempfile.NamedTemporaryFile(dir=folder, delete=False) as target,
    ):
        places, at = [], 0
        for line in lines:
            places.append(at)
            at += len(line)
        random.Random(_SEED).shuffle(places)  # noqa: S311 - an order, not a secret
        for place in places:
            lines.seek(place)
            target.write(lines.readline())
    source.unlink()
    return Path(target.name)


def _cut(path: Path, fraction: float) -> None:
    """Keep a part of the file that ends within a row."""
    size = path.stat().st_size
    with path.open("rb+") as file:
        at = max(1, int(size * fraction))
        file.seek(at - 1)
        file.truncate(at - 1 if file.read(1) == b"\n" else at)
