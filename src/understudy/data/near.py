"""Near-duplicates: MinHash signatures (Daft), locality-sensitive hashing, clusters (scipy).

Broder's resemblance over word n-grams; bands as in Leskovec, Rajaraman and Ullman, "Mining of
Massive Datasets", chapter 3. Bands only propose pairs: each is held against the threshold on the
whole signature before it counts, because bands alone join rows that are merely alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from understudy.data.filters.texts import texts
from understudy.data.library import load_daft
from understudy.model import Message
from understudy.recipe import NearDuplicates

__all__ = ["clusters", "matches", "normalised", "signatures"]

Array = np.ndarray[Any, Any]

_GAPS = re.compile(r"[\W_]+")
_UNHEARD = frozenset({"system", "developer"})
_PAIRS_AT_ONCE = 1 << 18
_ALL_PAIRS = 24
"""In groups up to this size every pair is looked at; in larger ones each with its neighbours."""

_EMPTY = np.uint32(0xFFFFFFFF)


def normalised(messages: Sequence[Message]) -> str:
    """What a conversation says, without case, punctuation and layout; system prompts left out."""
    said = " ".join(
        text for message in messages if message["role"] not in _UNHEARD for text in texts(message)
    )
    if not said.isascii():
        said = unicodedata.normalize("NFKC", said)
    return _GAPS.sub(" ", said.casefold()).strip()


def signatures(said: Sequence[str], settings: NearDuplicates) -> Array:
    """MinHash of each text over its word n-grams: (texts, permutations) of uint32.

    Raises:
        ConfigError: Daft is not installed.
    """
    if not said:
        return np.empty((0, settings.permutations), "<u4")
    series = load_daft("[cleaning.near_duplicates]").Series
    hashes = series.from_pylist(list(said)).minhash(
        num_hashes=settings.permutations, ngram_size=settings.ngram, seed=settings.seed
    )
    flat: Array = hashes.to_arrow().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, settings.permutations)


def clusters(found: Array, settings: NearDuplicates) -> Array:
    """The cluster of each row: rows joined by pairs at least as alike as the threshold.

    Args:
        found: signatures, (rows, permutations); rows that say nothing are alone.
        settings: threshold and bands.

    Returns:
        (rows,) of int32; equal numbers are one cluster.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = len(found)
    left: list[Array] = []
    right: list[Array] = []
    for pairs in _candidates(found, settings.bands):
        ok = _alike(found, pairs, settings.threshold)
        left.append(pairs[ok, 0])
        right.append(pairs[ok, 1])
    one = np.concatenate(left) if left else np.empty(0, np.int64)
    other = np.concatenate(right) if right else np.empty(0, np.int64)
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(rows, rows))
    labels: Array = connected_components(graph, directed=False)[1]
    return labels


def matches(found: Array, known: Array, settings: NearDuplicates) -> Array:
    """Which rows are at least as alike to one of ``known`` as the threshold: (rows,) of bool."""
    joined = np.concatenate([known, found])
    hit = np.zeros(len(found), bool)
    for pairs in _candidates(joined, settings.bands, between=len(known)):
        ok = pairs[_alike(joined, pairs, settings.threshold)]
        hit[ok.max(axis=1) - len(known)] = True
    return hit


def _alike(found: Array, pairs: Array, threshold: float) -> Array:
    ok = np.empty(len(pairs), bool)
    least = threshold * found.shape[1]
    for start in range(0, len(pairs), _PAIRS_AT_ONCE // 16):
        piece = pairs[start : start + _PAIRS_AT_ONCE // 16]
        same = (found[piece[:, 0]] == found[piece[:, 1]]).sum(axis=1)
        ok[start : start + len(piece)] = same >= least
    return ok


def _candidates(found: Array, bands: int, between: int | None = None) -> Iterator[Array]:
    """Pairs of rows that agree in a whole band, band after band: (pairs, 2) of int64.

    With ``between``, only pairs of a row before it with a row from it on.
    """
    width = found.shape[1] // bands
    alive = np.flatnonzero((found != _EMPTY).any(axis=1))
    for band in range(bands):
        keys = _keys(found[alive, band * width : (band + 1) * width])
        order = np.argsort(keys, kind="stable")
        ranked = keys[order]
        starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        sizes = np.diff(np.r_[starts, len(ranked)])
        pairs = _pairs(alive[order], starts[sizes > 1], sizes[sizes > 1])
        if between is not None:
            pairs = pairs[(pairs < between).sum(axis=1) == 1]
        if len(pairs):
            yield pairs


def _keys(columns: Array) -> Array:
    """One uint64 for each row of a band: a mix of its values (splitmix64's multipliers)."""
    key = np.zeros(len(columns), np.uint64)
    for column in columns.T:
        key = (key ^ column.astype(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
        key ^= key >> np.uint64(27)
        key *= np.uint64(0x94D049BB133111EB)
        key ^= key >> np.uint64(31)
    return key


def _pairs(members: Array, starts: Array, sizes: Array) -> Array:
    """Pairs within groups of ``members``.

    Small groups give every pair. In large ones each member meets the next ``_ALL_PAIRS`` ones:
    real clusters of that size hang together through their neighbours, and a crowd of unlike rows
    that one common phrase brought together does not cost its square.
    """
    made = []
    longest = int(sizes.max(initial=0))
    for step in range(1, min(longest, _ALL_PAIRS + 1)):
        wide = sizes > step
        counts = sizes[wide] - step
        total = int(counts.sum())
        offsets = np.repeat(starts[wide] - np.r_[0, np.cumsum(counts)[:-1]], counts)
        first = offsets + np.arange(total)
        made.append(np.stack([members[first], members[first + step]], axis=1))
    return np.concatenate(made) if made else np.empty((0, 2), np.int64)
