"""The book of live answers: entered before sending, paid for on arrival, never lost silently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from understudy.costs import ledger
from understudy.costs.money import to_nanos
from understudy.data.tokens import message_tokens, request_tokens
from understudy.engine import operations
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.fingerprint import fingerprint, reusable
from understudy.model import ChatReply, ChatRequest, ModelRef, Usage
from understudy.store.dialect import insert
from understudy.store.schema import answers, asked, deployments, repaid

__all__ = ["Book", "list_lost"]


def list_lost(tx: sa.Connection, account: str) -> None:
    """List the requests of ``account`` that were sent, and whose answer nobody saw."""
    mine = asked.c.operation == account
    rows = tx.execute(sa.select(asked).where(mine)).mappings().all()
    if rows:
        tx.execute(sa.insert(repaid), [dict(row) for row in rows])
        tx.execute(sa.delete(asked).where(mine))


class Book:
    """Answers that one operation asks for; see ``understudy.infer.AnswerBook``.

    Args:
        engine: the engine.
        op: the operation in whose name the writes are made; each of them checks its lease.
        ref: the model that answers.
        sku: of the deployment that it answers through, for its price.
        account: key of the operation whose reservation pays.
        max_output_tokens: bound on an answer, for the list of possible repayments.
        fresh: know nothing, and so ask again.
        deployment: key of the operation that started the deployment which answers.
        kind: of the reservation, as the ledger names it.
    """

    def __init__(
        self,
        engine: Engine,
        op: Operation,
        *,
        ref: ModelRef,
        account: str,
        max_output_tokens: int,
        sku: str | None = None,
        fresh: bool = False,
        deployment: str | None = None,
        kind: str = "evaluate",
    ) -> None:
        self._engine = engine
        self._op = op
        self._ref = ref
        self._sku = sku
        self._fresh = fresh
        self._deployment = deployment
        self._account = account
        self._kind = kind
        self._max_output = max_output_tokens
        self._provider = engine.backends.capabilities(ref.backend).price_book
        self._out: dict[str, ChatRequest] = {}

    def list_lost(self) -> None:
        """Requests that an earlier attempt sent without seeing the answer: list them."""
        with self._engine.store.write() as tx:
            operations.guard(tx, self._op)
            list_lost(tx, self._account)

    def key(self, request: ChatRequest) -> str:
        """The fingerprint; a sampled answer is used again by its own operation alone."""
        # By the model, not by what it is asked through: a deployment's name changes.
        print_ = fingerprint(request, model_version=f"{self._ref.backend}:{self._ref.id}")
        return print_ if reusable(request) else f"{print_}@{self._account}"

    def known(self, keys: Sequence[str]) -> Mapping[str, ChatReply]:
        """Answers in the store, whoever paid for them."""
        if self._fresh:
            return {}
        query = sa.select(answers.c.fingerprint, answers.c.reply).where(
            answers.c.fingerprint.in_(list(keys))
        )
        with self._engine.store.read() as tx:
            return {row.fingerprint: _reply(row.reply) for row in tx.execute(query)}

    def asking(self, requests: Mapping[str, ChatRequest]) -> None:
        """Enter requests that are about to be sent."""
        now = self._engine.now()
        self._out |= requests
        rows = [
            {
                "operation": self._account,
                "fingerprint": key,
                "at": now,
                "at_most_nanos": self._at_most(request),
            }
            for key, request in requests.items()
        ]
        with self._engine.store.write() as tx:
            operations.guard(tx, self._op)
            tx.execute(insert(tx, asked).on_conflict_do_nothing(), rows)
            # The estimate did not know of a model that took the alias since.
            out = sa.select(sa.func.sum(asked.c.at_most_nanos)).where(
                asked.c.operation == self._account
            )
            at_most = int(tx.execute(out).scalar_one())
            ledger.cover(tx, operation=self._account, kind=self._kind, nanos=at_most)
        self._engine.reach("evaluate.asked")

    def answered(self, replies: Mapping[str, ChatReply], refused: Sequence[str]) -> None:
        """Keep answers and book what they cost, in one transaction."""
        now = self._engine.now()
        done = [*replies, *refused]
        with self._engine.store.write() as tx:
            operations.guard(tx, self._op)
            total = 0
            for key, reply in replies.items():
                cost = self._cost(self._usage(key, reply))
                total += cost
                tx.execute(
                    insert(tx, answers).on_conflict_do_nothing(),
                    [
                        {
                            "fingerprint": key,
                            "reply": asdict(reply),
                            "cost_nanos": cost,
                            "operation": self._account,
                            "at": now,
                        }
                    ],
                )
            if replies and self._deployment is not None:
                # In this transaction: a worker that dies after it must not pay to ask again.
                one = deployments.c.operation == self._deployment
                tx.execute(sa.update(deployments).where(one).values(answered_at=now))
            if total:
                ledger.spend(tx, operation=self._account, kind=self._kind, nanos=total)
            if done:
                tx.execute(
                    sa.delete(asked).where(
                        asked.c.operation == self._account, asked.c.fingerprint.in_(done)
                    )
                )
        for key in done:
            self._out.pop(key, None)
        self._engine.reach("evaluate.answered")

    def _usage(self, key: str, reply: ChatReply) -> Usage:
        """The provider's count, or ours where it gave none: used is never booked as free."""
        if not reply.usage_counted_here:
            return reply.usage
        request = self._out[key]
        return Usage(
            input=request_tokens(request.messages, request.tools),
            output=message_tokens(reply.message),
        )

    def _cost(self, usage: Usage) -> int:
        return to_nanos(
            self._engine.prices.inference_cost(
                self._provider, self._ref.id, usage, tier=self._sku, at=self._engine.now()
            )
        )

    def _at_most(self, request: ChatRequest) -> int:
        tokens = request_tokens(request.messages, request.tools)
        return self._cost(Usage(input=tokens, output=self._max_output))


def _reply(data: Any) -> ChatReply:
    return ChatReply(**{**data, "usage": Usage(**data["usage"])})
