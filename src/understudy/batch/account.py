"""The account of a run: what became of every row, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal

import sqlalchemy as sa

from understudy.batch.recipe import Compare
from understudy.costs.money import from_nanos
from understudy.engine import Engine, batch_shards
from understudy.engine.batch_shards import OPEN, Run, Shard, ShardState
from understudy.model import Json, Usage

__all__ = ["RunAccount", "Saved", "account_of", "saved", "told"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunAccount:
    """Every row of the input, once.

    ``rows = rejected + duplicates + known + answered + refused + invalid + failed + to_do``.
    ``counted_here``: answers whose tokens were counted on this side. ``guessed_usd`` is the part
    of ``spent_usd`` for rows that the provider counted and never delivered. Batches are shards
    that were sent, each once a try that ran.
    """

    rows: int
    rejected: int
    duplicates: int
    known: int
    answered: int
    refused: int
    invalid: int
    failed: int
    to_do: int
    strays: int
    batches: int
    asked_again: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    counted_here: int
    spent_usd: Decimal
    guessed_usd: Decimal
    shards: dict[str, int]

    @property
    def coverage(self) -> float:
        """Share of the distinct requests that have an answer."""
        unique = self.rows - self.rejected - self.duplicates
        return (self.known + self.answered) / unique if unique else 0.0

    @property
    def usage(self) -> Usage:
        """All tokens."""
        return Usage(input=self.input_tokens, output=self.output_tokens, cached=self.cached_tokens)

    def to_json(self) -> dict[str, Json]:
        """As JSON; sums of money are decimal strings."""
        values = asdict(self)
        values["spent_usd"] = format(self.spent_usd, "f")
        values["guessed_usd"] = format(self.guessed_usd, "f")
        return {**values, "coverage": round(self.coverage, 6)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """What the same answers would have cost otherwise, in US dollars."""

    live_usd: Decimal
    teacher_usd: Decimal | None

    def to_json(self, spent: Decimal) -> dict[str, Json]:
        """What was saved against both."""
        teacher = self.teacher_usd
        return {
            "against_live_usd": format(self.live_usd - spent, "f"),
            "against_teacher_usd": None if teacher is None else format(teacher - spent, "f"),
        }


def account_of(tx: sa.Connection, run: Run) -> RunAccount:
    """The account of ``run`` as it stands."""
    shards = batch_shards.shards_of(tx, run.id)
    plan = run.plan
    ended = [shard for shard in shards if shard.state is ShardState.COLLECTED]
    open_ = [shard for shard in shards if shard.state is not ShardState.COLLECTED]
    sums = {name: sum(getattr(one, name) for one in ended) for name in _SUMS}
    return RunAccount(
        rows=plan["rows"],
        rejected=plan["rejected"],
        duplicates=plan["duplicates"],
        known=plan["known"],
        to_do=sum(shard.requests for shard in open_),
        batches=sum(shard.remote_id is not None for shard in shards),
        asked_again=sum(shard.again for shard in ended),
        spent_usd=from_nanos(sum(shard.cost_nanos for shard in ended)),
        guessed_usd=from_nanos(sum(shard.guessed_nanos for shard in ended)),
        shards=dict(Counter(shard.state.value for shard in shards)),
        **sums,
    )


_SUMS = (
    "answered",
    "refused",
    "invalid",
    "failed",
    "strays",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "counted_here",
)


def told(shards: Sequence[Shard]) -> tuple[int, int]:
    """Rows that are settled, and all rows, for a progress bar."""
    total = sum(shard.requests for shard in shards if shard.round == 1)
    return total - sum(_unsettled(shards)), total


def _unsettled(shards: Iterable[Shard]) -> Iterable[int]:
    return (shard.requests for shard in shards if shard.state in {*OPEN, ShardState.CANCELLED})


def saved(engine: Engine, run: Run, usage: Usage) -> Saved:
    """What ``usage`` would have cost live, and of the teacher that the recipe names.

    Raises:
        ConfigError: a price is not known.
    """
    compare = Compare.model_validate(run.plan["compare"]) if run.plan.get("compare") else None
    teacher = None
    if compare is not None:
        teacher = _live(engine, compare.backend or run.backend, compare.teacher, usage)
    return Saved(live_usd=_live(engine, run.backend, run.model, usage), teacher_usd=teacher)


def _live(engine: Engine, backend: str, model: str, usage: Usage) -> Decimal:
    provider = engine.backends.capabilities(backend).price_book
    return engine.prices.inference_cost(provider, model, usage, at=engine.now())
