"""What fitted vectorisers give, many times faster: texts share their words.

The n-grams of a word are found once. A matrix of texts by words times one of words by n-grams is
then the matrix of texts by n-grams. The numbers are those of scikit-learn's own ``transform``; a
test holds them equal.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

_KEPT_WORDS = 100_000


class _Word(NamedTuple):
    """What stands between spaces: its columns, and the first and last word in it."""

    columns: array[int]
    first: str
    last: str


class _Chunk:
    """The different words of some texts, numbered; a known pair of words is one more of them."""

    def __init__(self, known: Mapping[str, _Word], learn: Callable[[str], _Word]) -> None:
        self._known, self._learn = known, learn
        self.entries: list[_Word] = []
        self.numbers: dict[str, tuple[int, str, str]] = {}
        self._pairs: dict[int, int] = {}

    def number_of(self, word: str) -> tuple[int, str, str]:
        """Its number, first and last part."""
        entry = self._known.get(word) or self._learn(word)
        made = self.numbers[word] = (len(self.entries), entry.first, entry.last)
        self.entries.append(entry)
        return made

    def pair(self, column: int) -> int:
        """The number of the pair that has a column of its own."""
        if column not in self._pairs:
            self._pairs[column] = len(self.entries)
            self.entries.append(_Word(array("i", [column]), "", ""))
        return self._pairs[column]


class WordGrams:
    """Transforms texts as two fitted vectorisers do, their columns side by side.

    Args:
        words: word n-grams, one and two words long.
        chars: character n-grams within words.
    """

    def __init__(self, words: TfidfVectorizer, chars: TfidfVectorizer) -> None:
        self._pattern = re.compile(words.token_pattern)
        self._words, self._chars = words.vocabulary_, chars.vocabulary_
        self._weights = np.concatenate([words.idf_, chars.idf_])
        self._lengths = range(chars.ngram_range[0], chars.ngram_range[1] + 1)
        self._known: dict[str, _Word] = {}

    def transform(self, texts: Sequence[str]) -> Any:
        """The matrix, one row a text."""
        chunk = _Chunk(self._known, self._learn)
        found, ends, pairs = array("i"), array("i", [0]), self._words
        numbers, add, number_of = chunk.numbers, found.append, chunk.number_of
        for text in texts:
            last = ""
            for word in text.lower().split():
                entry = numbers.get(word) or number_of(word)
                add(entry[0])
                first = entry[1]
                if first:
                    if last:
                        column = pairs.get(last + " " + first)
                        if column is not None:
                            add(chunk.pair(column))
                    last = entry[2]
            ends.append(len(found))
        occurs = _matrix(found, ends, columns=len(chunk.entries))
        return self._weighed(occurs @ self._grams_of(chunk.entries))

    def _learn(self, word: str) -> _Word:
        parts = self._pattern.findall(word)
        grams = [*parts, *(f"{a} {b}" for a, b in pairwise(parts))]
        columns = array("i", (self._words[gram] for gram in grams if gram in self._words))
        shift = len(self._words)
        columns.extend(
            self._chars[gram] + shift for gram in self._within(word) if gram in self._chars
        )
        entry = _Word(columns, parts[0] if parts else "", parts[-1] if parts else "")
        if len(self._known) >= _KEPT_WORDS:
            # Another thread may be reading: it is replaced, not emptied.
            self._known = {}
        self._known[word] = entry
        return entry

    def _within(self, word: str) -> list[str]:
        grams: list[str] = []
        padded = f" {word} "
        for length in self._lengths:
            last = max(1, len(padded) - length + 1)
            grams += [padded[at : at + length] for at in range(last)]
            if last == 1:
                # The word as a whole counts once, not for each greater length again.
                break
        return grams

    def _grams_of(self, entries: Sequence[_Word]) -> Any:
        columns, ends = array("i"), array("i", [0])
        for entry in entries:
            columns.extend(entry.columns)
            ends.append(len(columns))
        return _matrix(columns, ends, columns=len(self._weights))

    def _weighed(self, counts: Any) -> Any:
        """The logarithm of counts, weights, and both blocks of each row made one long."""
        np.log(counts.data, out=counts.data)
        counts.data += 1.0
        counts.data *= self._weights[counts.indices]
        rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        block = 2 * rows + (counts.indices >= len(self._words))
        squares = np.bincount(block, counts.data * counts.data, minlength=2 * counts.shape[0])
        counts.data /= np.sqrt(squares)[block]
        return counts


def _matrix(found: array[int], ends: array[int], *, columns: int) -> Any:
    indices = np.frombuffer(found, dtype=np.int32) if found else np.empty(0, dtype=np.int32)
    parts = (np.ones(len(found)), indices, np.frombuffer(ends, dtype=np.int32))
    return sparse.csr_matrix(parts, shape=(len(ends) - 1, columns))
