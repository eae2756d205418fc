"""Rows in numbers, computed once and shared by every part of a model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from understudy_sandbox.learner.features import Token, token_features, tokens_of

if TYPE_CHECKING:
    from understudy_sandbox.learner.features import DocumentFeatures
    from understudy_sandbox.learner.rows import Prompt

_MAX_TOKENS = 400


class Space:
    """Prompts with their document matrix and, where a part asks for them, their tokens."""

    def __init__(
        self, prompts: Sequence[Prompt], documents: DocumentFeatures, matrix: Any = None
    ) -> None:
        self.prompts = prompts
        self._documents = documents
        self._matrix = matrix

    def subset(self, rows: Sequence[int]) -> Space:
        """The same for some of the rows."""
        if len(rows) == len(self.prompts):
            return self
        return Space([self.prompts[i] for i in rows], self._documents, self.matrix[list(rows)])

    @cached_property
    def matrix(self) -> Any:
        """Document features, one row a prompt."""
        if self._matrix is not None:
            return self._matrix
        return self._documents.transform(self.prompts)

    @cached_property
    def tokens(self) -> list[list[Token]]:
        """The last tokens of every prompt's source."""
        return [tokens_of(p.source)[-_MAX_TOKENS:] for p in self.prompts]

    @cached_property
    def bounds(self) -> list[tuple[int, int]]:
        """Each prompt's range of rows in ``token_matrix``."""
        ends, at = [], 0
        for row in self.tokens:
            ends.append((at, at + len(row)))
            at += len(row)
        return ends

    @cached_property
    def token_matrix(self) -> Any:
        """Window features, one row a token."""
        return token_features(self.tokens, self._documents.token_bits)
