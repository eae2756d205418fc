"""Which rows stay, where that is a question about several of them at once.

In this order: equal rows, near-duplicates, rows that are in a golden set. Every decision is a
pure function of the rows, so it does not matter how a source was cut or where it was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.data.near import clusters, matches
from understudy.data.parts import REJECTED, Part
from understudy.data.reasons import Reason
from understudy.data.split import SPLITS
from understudy.recipe import Cleaning

__all__ = ["Choice", "Golden", "choose"]

Array = np.ndarray[Any, Any]

_TEST = SPLITS.index("test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Golden:
    """What rows are held against: hashes of questions, and signatures of conversations."""

    asked: frozenset[bytes]
    signatures: Array


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What becomes of each record, all parts one after the other.

    Args:
        reason: why it is left out now; None where it stays or was rejected before.
        kept: for a duplicate, the number of the record that stays in its place, else -1.
        lines: where each record stands.
        sizes: how many near-duplicate clusters there are of each size, from 2 on.
    """

    reason: list[Reason | None]
    kept: Array
    lines: Array
    sizes: dict[int, int]


def choose(parts: Sequence[Part], cleaning: Cleaning, golden: Golden | None = None) -> Choice:
    """Decide over all records.

    The best row of a cluster is, in this order: a test row, so that nothing held out has its like
    among what is learned from; one with a reference; the one with the higher mean of its logged
    scores; the earlier one. Rows of the conversation that the best row
    is from stay with it: turns of one conversation are alike by nature.
    """
    columns = {
        name: np.concatenate([part.columns[name] for part in parts])
        for name in ("line", "side", "digest", "asked", "source", "reference", "score")
    }
    rows = len(columns["line"])
    reason: list[Reason | None] = [None] * rows
    kept = np.full(rows, -1, np.int64)
    alive = columns["side"] != REJECTED
    sizes: dict[int, int] = {}
    if "duplicate" in cleaning.drop:
        for row, best in _equal(columns, alive):
            reason[row], kept[row], alive[row] = Reason.DUPLICATE, best, False
    if cleaning.near_duplicates is not None:
        living = np.flatnonzero(alive)
        signatures = np.concatenate([part.signatures for part in parts])[living]
        labels = clusters(signatures, cleaning.near_duplicates)
        sizes = _sizes(labels)
        for row, best in _near(columns, living, labels):
            reason[row], kept[row], alive[row] = Reason.NEAR_DUPLICATE, best, False
    if golden is not None:
        for row in _held_out(columns, alive, parts, golden, cleaning):
            reason[row] = Reason.HELD_OUT
    return Choice(reason=reason, kept=kept, lines=columns["line"], sizes=sizes)


def _equal(columns: dict[str, Array], alive: Array) -> list[tuple[int, int]]:
    """(row, the one that stays): a held-out row if there is one, else the first."""
    living = np.flatnonzero(alive)
    halves = columns["digest"][living].view("<u8").reshape(-1, 2)
    learned = columns["side"][living] != _TEST
    order = np.lexsort((living, learned, halves[:, 1], halves[:, 0]))
    ranked = halves[order]
    first = (
        np.r_[True, (ranked[1:] != ranked[:-1]).any(axis=1)] if len(order) else np.empty(0, bool)
    )
    best = living[order][np.flatnonzero(first)][np.cumsum(first) - 1] if len(order) else order
    row = living[order]
    return list(zip(row[~first].tolist(), best[~first].tolist(), strict=True))


def _near(columns: dict[str, Array], living: Array, labels: Array) -> list[tuple[int, int]]:
    order = np.lexsort(
        (
            living,
            -columns["score"][living],
            -columns["reference"][living].astype(np.int8),
            columns["side"][living] != _TEST,
            labels,
        )
    )
    ranked = labels[order]
    first = np.r_[True, ranked[1:] != ranked[:-1]] if len(order) else np.empty(0, bool)
    starts = np.flatnonzero(first)
    best = living[order][starts][np.cumsum(first) - 1] if len(order) else order
    row = living[order]
    leaves = (row != best) & (columns["source"][row] != columns["source"][best])
    return list(zip(row[leaves].tolist(), best[leaves].tolist(), strict=True))


def _sizes(labels: Array) -> dict[int, int]:
    members = np.bincount(labels) if len(labels) else np.empty(0, np.int64)
    size, number = np.unique(members[members > 1], return_counts=True)
    return {int(one): int(many) for one, many in zip(size, number, strict=True)}


def _held_out(
    columns: dict[str, Array],
    alive: Array,
    parts: Sequence[Part],
    golden: Golden,
    cleaning: Cleaning,
) -> list[int]:
    """Rows to learn from that the golden set knows. Its own rows may well be in the test split."""
    living = np.flatnonzero(alive & (columns["side"] != _TEST))
    hit = np.array([columns["asked"][row].tobytes() in golden.asked for row in living], bool)
    if cleaning.near_duplicates is not None and len(golden.signatures):
        signatures = np.concatenate([part.signatures for part in parts])[living]
        hit |= matches(signatures, golden.signatures, cleaning.near_duplicates)
    return [int(row) for row in living[hit]]
