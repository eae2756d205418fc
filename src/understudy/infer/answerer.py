"""The one interface for asking any model, and the memory that it writes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from understudy.model import ChatReply, ChatRequest

__all__ = ["Answer", "AnswerBook", "Answerer"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What became of one request: a reply, or the provider's reason for refusing it."""

    request: ChatRequest
    reply: ChatReply | None
    problem: str | None = None


class Answerer(Protocol):
    """Asks a model."""

    def answer(self, requests: Sequence[ChatRequest]) -> Iterator[Answer]:
        """One answer for each request, in order.

        Raises:
            TransientError: the provider cannot answer now; what it did answer is kept, so asking
                again later costs nothing twice.
        """
        ...


class AnswerBook(Protocol):
    """Where answers are kept. A request is entered before it is sent, so none is lost silently."""

    def key(self, request: ChatRequest) -> str:
        """What the answer is kept under."""
        ...

    def known(self, keys: Sequence[str]) -> Mapping[str, ChatReply]:
        """Answers that are there already."""
        ...

    def asking(self, requests: Mapping[str, ChatRequest]) -> None:
        """These are about to be sent."""
        ...

    def answered(self, replies: Mapping[str, ChatReply], refused: Sequence[str]) -> None:
        """These came back; ``refused`` were not answered and not billed."""
        ...
