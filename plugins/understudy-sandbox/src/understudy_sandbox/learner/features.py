"""Numbers out of texts: word and character n-grams, and the windows around tokens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from scipy import sparse
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import TfidfVectorizer

from understudy_sandbox.learner.grams import WordGrams

if TYPE_CHECKING:
    from understudy_sandbox.learner.rows import Prompt

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d]+(?:['’\-][^\W\d]+)*|[^\w\s]|_")  # noqa: RUF001 - a real apostrophe
_WORD = r"(?u)\b\w+\b"  # one letter is a word too: "50 w", "size m"
_WORDLIKE = re.compile(r"\w")
_LEAST_BITS, _MOST_BITS = 12, 18
_CONTEXT_WEIGHT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token of a text with its place in it."""

    text: str
    start: int
    end: int


def tokens_of(text: str) -> list[Token]:
    """Words, numbers and marks of a text, in order."""
    return [Token(text=m.group(), start=m.start(), end=m.end()) for m in _TOKEN.finditer(text)]


class DocumentFeatures:
    """TF-IDF of words and characters of the question, and of words of what came before it.

    The system message counts only where it differs between training rows: a constant one says
    nothing and would drown short questions.
    """

    def __init__(self) -> None:
        self._word = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=_WORD)
        self._char = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, max_features=40_000
        )
        self._before: TfidfVectorizer | None = None
        self._with_system = False
        self.token_bits = _MOST_BITS

    def fit(self, prompts: Sequence[Prompt]) -> Any:
        """Learn the vocabulary and return the matrix of the training prompts."""
        texts = [self._text(p) for p in prompts]
        self.token_bits = bits_for(sum(len(p.source.split()) for p in prompts))
        systems = Counter(p.system for p in prompts)
        self._with_system = systems.most_common(1)[0][1] < 0.9 * len(prompts)
        blocks = [self._word.fit_transform(texts), self._char.fit_transform(texts)]
        self._grams = WordGrams(self._word, self._char)
        before = [self._context(p) for p in prompts]
        if any(_WORDLIKE.search(text) for text in before):
            self._before = TfidfVectorizer(
                sublinear_tf=True, max_features=20_000, token_pattern=_WORD
            )
            blocks.append(self._before.fit_transform(before) * _CONTEXT_WEIGHT)
        return sparse.hstack(blocks).tocsr()

    def transform(self, prompts: Sequence[Prompt]) -> Any:
        """The matrix of new prompts, in the training vocabulary."""
        matrix = self._grams.transform([self._text(p) for p in prompts])
        if self._before is None:
            return matrix
        before = self._before.transform([self._context(p) for p in prompts])
        return sparse.hstack([matrix, before * _CONTEXT_WEIGHT]).tocsr()

    @staticmethod
    def _text(prompt: Prompt) -> str:
        # An empty question must still yield a vocabulary.
        return prompt.text if _WORDLIKE.search(prompt.text) else f"{prompt.text} nothing"

    def _context(self, prompt: Prompt) -> str:
        return f"{prompt.system}\n{prompt.context}" if self._with_system else prompt.context


@lru_cache(maxsize=100_000)
def _shape(word: str) -> str:
    if word.isdigit():
        return f"d{min(len(word), 5)}"
    if any(c.isdigit() for c in word):
        return "dx"
    if word.istitle():
        return "Xx"
    if word.isupper():
        return "XX"
    return "x" if word.isalpha() else word


def _windows(tokens: Sequence[Token]) -> Iterator[list[str]]:
    low = ["<s2>", "<s>", *(t.text.casefold() for t in tokens), "</s>", "</s2>"]
    shapes = ["^", "^", *(_shape(t.text) for t in tokens), "$", "$"]
    for i in range(2, len(low) - 2):
        w = low[i]
        yield [
            f"w={w}",
            f"p={w[:3]}",
            f"s={w[-3:]}",
            f"h={shapes[i]}",
            f"a={low[i - 1]}",
            f"b={low[i + 1]}",
            f"aa={low[i - 2]}|{low[i - 1]}",
            f"bb={low[i + 1]}|{low[i + 2]}",
            f"aw={low[i - 1]}|{w}",
            f"wb={w}|{low[i + 1]}",
            f"ah={shapes[i - 1]}|{shapes[i]}",
            f"hb={shapes[i]}|{shapes[i + 1]}",
            f"a2={low[i - 2]}",
            f"b2={low[i + 2]}",
        ]


def token_features(texts: Sequence[Sequence[Token]], bits: int) -> Any:
    """One row of hashed window features for each token of each text, in order.

    Args:
        texts: the tokens of each text.
        bits: the matrix has two to this power columns.
    """
    hasher = FeatureHasher(n_features=1 << bits, input_type="string", alternate_sign=False)
    rows = [window for tokens in texts for window in _windows(tokens)]
    if not rows:
        return sparse.csr_matrix((0, 1 << bits))
    return hasher.transform(rows)


def bits_for(tokens: int) -> int:
    """Column bits for a number of training tokens: few collisions, yet no empty width to train."""
    return min(_MOST_BITS, max(_LEAST_BITS, (8 * tokens).bit_length()))
