"""The plan: unique requests in the order of their keys, cut into shards within the limits.

First pass: blocks of input are rendered (by two processes where there is much) and spilled into
256 files by the first byte of the key. Second pass: each file is sorted; equal lines are the same
request; what the cache knows already is noted and left out; the rest is cut into shards. Memory
holds one bucket, so it grows with a 256th of the input, and not with it at all below a few
million rows.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from understudy.batch.inputs import Block
from understudy.batch.pool import render_all
from understudy.batch.rendering import BUCKETS, REFERENCE
from understudy.engine.batch_files import KEY, TEXT

__all__ = ["Cut", "Planned", "PlannedShard", "Scope", "cut", "processes_for", "spill"]

_HELD = 1 << 22
"""Bytes of spilled lines that are held before they are written."""

_WORTH_PROCESSES = 96 * 1024 * 1024
"""Bytes of input from which on processes win back the second or two that each needs to start."""

Known = Callable[[Sequence[bytes]], set[bytes]]
"""Which of these sorted keys (32 bytes each) the cache can answer already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """What one shard may hold; ``constant`` are bytes of a row beside its line's texts and key."""

    requests: int
    bytes: int
    tokens: int | None
    constant: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedShard:
    """One shard of the plan."""

    number: int
    requests: int
    bytes: int
    tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """What the plan came to. ``rows = rejected + duplicates + known + asked``."""

    rows: int
    rejected: int
    duplicates: int = 0
    known: int = 0
    asked: int = 0
    tokens: int = 0
    shards: tuple[PlannedShard, ...] = ()

    @property
    def unique(self) -> int:
        """Distinct requests: the keys that the generation should have."""
        return self.known + self.asked


# First pass.


def spill(
    blocks: Iterable[Block],
    folder: Path,
    *,
    arguments: dict[str, Any],
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Planned:
    """Render ``blocks`` into ``folder``: one spill file a bucket, and ``rejects.jsonl``.

    Args:
        blocks: the input.
        folder: an empty folder.
        arguments: of the ``Renderer``; picklable where there are several processes.
        processes: how many render.
        progress: called with the number of rows so far.
    """
    rows = rejected = held = 0
    waiting: dict[int, list[bytes]] = {}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "rejects.jsonl").open("wb") as rejects:
        for rendered in render_all(blocks, arguments, processes=processes):
            rows += rendered.rows
            rejected += len(rendered.rejected)
            rejects.writelines(rendered.rejected)
            for bucket, data in rendered.buckets.items():
                waiting.setdefault(bucket, []).append(data)
                held += len(data)
            if held > _HELD:
                _append(folder, waiting)
                held = 0
            if progress is not None:
                progress(rows)
    _append(folder, waiting)
    return Planned(rows=rows, rejected=rejected)


def _append(folder: Path, waiting: dict[int, list[bytes]]) -> None:
    for bucket, parts in waiting.items():
        with (folder / _spill_name(bucket)).open("ab", buffering=0) as file:
            file.write(b"".join(parts))
    waiting.clear()


def _spill_name(bucket: int) -> str:
    return f"spill-{bucket:02x}"


# Second pass.


@dataclass(kw_only=True)
class Cut:
    """Cuts sorted lines into shards, and writes what belongs to each of them."""

    folder: Path
    scope: Scope
    shards: list[PlannedShard] = field(default_factory=list)
    _lines: list[bytes] = field(default_factory=list)
    _bytes: int = 0
    _tokens: int = 0

    def add(self, lines: Sequence[bytes]) -> None:
        """Take in lines that sort behind all earlier ones."""
        scope = self.scope
        held, size, tokens = self._lines, self._bytes, self._tokens
        most_tokens = scope.tokens if scope.tokens is not None else 1 << 62
        # A line holds its tokens, which the provider's row does not.
        constant = scope.constant - (TEXT - KEY)
        for line in lines:
            more, asked = len(line) + constant, int(line[KEY:TEXT], 16)
            full = len(held) >= scope.requests or size + more > scope.bytes
            if held and (full or tokens + asked > most_tokens):
                self._bytes, self._tokens = size, tokens
                self._close()
                size = tokens = 0
            held.append(line)
            size += more
            tokens += asked
        self._bytes, self._tokens = size, tokens

    def _close(self) -> None:
        number = len(self.shards) + 1
        with (self.folder / f"{number:05}.rows").open("wb") as file:
            file.write(b"\n".join(self._lines) + b"\n")
        self.shards.append(
            PlannedShard(
                number=number, requests=len(self._lines), bytes=self._bytes, tokens=self._tokens
            )
        )
        self._lines.clear()
        self._bytes = self._tokens = 0

    def end(self) -> list[PlannedShard]:
        """Write the last shard; all of them."""
        if self._lines:
            self._close()
        return self.shards


def cut(
    folder: Path,
    spilled: Planned,
    scope: Scope,
    *,
    known: Known | None = None,
    references: bool = False,
    sample: int = 0,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Planned:
    """Turn the spill files of ``folder`` into shards; the spill files are removed.

    Also writes ``carried.keys`` (32 bytes each, sorted: what the cache knows), ``sample.rows``
    (``sample`` lines, chosen evenly by ``seed``) and, with ``references``, ``references`` (a key
    and a JSON string a line).

    Args:
        folder: what ``spill`` filled.
        spilled: what it returned.
        scope: what a shard may hold.
        known: asks the cache; None where there is nothing in it.
        references: whether lines end with a reference.
        sample: how many requests are compared with live answers later.
        seed: of that choice.
        progress: called with the number of distinct requests so far.
    """
    cutter = Cut(folder=folder, scope=scope)
    picked: list[bytes] = []
    asked = carried = 0
    with (folder / "carried.keys").open("wb") as keys, (folder / "references").open("wb") as right:
        for bucket in range(BUCKETS):
            lines = _sorted(folder / _spill_name(bucket))
            if references:
                lines = _without_references(lines, right)
            if known is not None and lines:
                lines, old = _split(lines, known)
                keys.write(b"".join(old))
                carried += len(old)
            chooser = random.Random(f"{seed}:{bucket}")  # noqa: S311 - a sample, no secret
            picked += chooser.sample(lines, min(sample, len(lines)))
            asked += len(lines)
            cutter.add(lines)
            if progress is not None:
                progress(asked + carried)
    shards = tuple(cutter.end())
    _write_sample(folder, picked, sample, seed)
    return replace(
        spilled,
        duplicates=spilled.rows - spilled.rejected - asked - carried,
        known=carried,
        asked=asked,
        tokens=sum(shard.tokens for shard in shards),
        shards=shards,
    )


def _sorted(path: Path) -> list[bytes]:
    """The distinct lines of a spill file, by key; the file is removed."""
    if not path.exists():
        return []
    lines = set(path.read_bytes().split(b"\n"))
    path.unlink()
    lines.discard(b"")
    return sorted(lines)


def _without_references(lines: Iterable[bytes], right: Any) -> list[bytes]:
    """One line a key, without its reference, which is noted; of several the first by its text."""
    kept: list[bytes] = []
    noted = b""
    for line in lines:
        bare, mark, reference = line.partition(REFERENCE)
        if not kept or kept[-1][:KEY] != bare[:KEY]:
            kept.append(bare)
        if mark and noted != bare[:KEY]:
            noted = bare[:KEY]
            right.write(noted + reference + b"\n")
    return kept


def _split(lines: Sequence[bytes], known: Known) -> tuple[list[bytes], list[bytes]]:
    """Lines that are to be asked, and the keys of those that are known."""
    keys = [bytes.fromhex(line[:KEY].decode()) for line in lines]
    old = known(keys)
    if not old:
        return list(lines), []
    asked = [line for line, key in zip(lines, keys, strict=True) if key not in old]
    return asked, [key for key in keys if key in old]


def _write_sample(folder: Path, picked: list[bytes], sample: int, seed: int) -> None:
    chooser = random.Random(seed)  # noqa: S311 - a sample, no secret
    chosen = sorted(chooser.sample(picked, min(sample, len(picked))))
    (folder / "sample.rows").write_bytes(b"".join(line + b"\n" for line in chosen))


def processes_for(size: int | None) -> int:
    """How many processes render an input of ``size`` bytes; None: not known."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return min(cores, 4) if size is None or size > 32 * 1024 * 1024 else 1
