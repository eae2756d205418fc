"""A model that is asked live behind the cache, what it costs, and what its errors mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from understudy.backend import SupportsInfer
from understudy.cache.values import Refusal
from understudy.errors import (
    InvalidData,
    OutcomeUnknown,
    RateLimited,
    TerminalError,
    TransientError,
)
from understudy.infer.answerer import Answerer
from understudy.model import ChatReply, ChatRequest, Usage

if TYPE_CHECKING:
    from understudy.costs.prices import PriceBook

__all__ = ["LiveModel", "Trouble", "refusal_in", "trouble_of", "with_usage"]

CostOf = Callable[[Usage], Decimal]
"""US dollars of one completion."""


class Trouble(StrEnum):
    """Why a live model did not answer; a cascade's rule says which of them lead on."""

    RATE_LIMITED = "rate limited"
    UNAVAILABLE = "unavailable"
    IN_DOUBT = "outcome unknown"
    GONE = "cannot be asked"
    REFUSED = "refused"
    REJECTED = "answer rejected"


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveModel:
    """One rung behind the cache.

    Args:
        model: what the request's ``model`` becomes.
        ask: one completion; raises a ``BackendError`` where there is none.
        cost: what a completion costs; None where nobody knows, which is then said, never zero.
    """

    model: str
    ask: Callable[[ChatRequest], ChatReply]
    cost: CostOf | None

    @classmethod
    def over(
        cls,
        backend: SupportsInfer,
        model: str,
        *,
        prices: PriceBook,
        provider: str,
        tier: str | None = None,
        timeout: float = 60.0,
    ) -> Self:
        """A model of a backend, at its listed price.

        Args:
            backend: that it answers through.
            model: its id there.
            prices: the project's price book.
            provider: as ``Capabilities.price_book`` names it.
            tier: of a deployment.
            timeout: seconds for one request.

        Raises:
            ConfigError: nobody knows its price; better now than after the first answer.
        """
        prices.inference_price(provider, model, tier=tier)

        def ask(request: ChatRequest) -> ChatReply:
            return backend.complete(request, timeout=timeout)

        def cost(usage: Usage) -> Decimal:
            return prices.inference_cost(provider, model, usage, tier=tier)

        return cls(model=model, ask=ask, cost=cost)

    @classmethod
    def through(cls, answerer: Answerer, model: str, *, cost: CostOf | None) -> Self:
        """A model that is asked through an ``Answerer``."""

        def ask(request: ChatRequest) -> ChatReply:
            (answer,) = answerer.answer([request])
            if answer.reply is None:
                raise InvalidData(answer.problem or "the model gave no answer and no reason")
            return answer.reply

        return cls(model=model, ask=ask, cost=cost)


def trouble_of(error: Exception) -> Trouble | None:
    """What an error of ``ask`` means; None for one that is nobody's but the caller's."""
    if isinstance(error, RateLimited):
        return Trouble.RATE_LIMITED
    if isinstance(error, OutcomeUnknown):
        return Trouble.IN_DOUBT
    if isinstance(error, TransientError):
        return Trouble.UNAVAILABLE
    if isinstance(error, InvalidData):
        return Trouble.REFUSED
    return Trouble.GONE if isinstance(error, TerminalError) else None


def refusal_in(reply: ChatReply) -> Refusal | None:
    """The refusal that a reply is: cut by a content filter, or the model's own words of it."""
    if reply.finish_reason == "content_filter":
        return Refusal(reason="a content filter cut the answer", code="content_filter")
    said = reply.message.get("refusal")
    return Refusal(reason=str(said), code="refusal") if said else None


def with_usage(reply: ChatReply, request: ChatRequest) -> ChatReply:
    """The reply with its tokens counted here, where the provider gave none."""
    if reply.usage.input or reply.usage.output:
        return reply
    from understudy.data.tokens import message_tokens, request_tokens

    counted = Usage(
        input=request_tokens(request.messages, request.tools),
        output=message_tokens(reply.message),
    )
    return replace(reply, usage=counted, usage_counted_here=True)
