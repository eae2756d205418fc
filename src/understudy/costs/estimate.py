"""What a run will cost, before anything is sent: expected, and at most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from decimal import Decimal

from understudy.costs.money import add, format_usd, times
from understudy.costs.prices import PriceBook, base_of
from understudy.errors import DataError
from understudy.model import Estimate, Json, Usage

__all__ = ["Asked", "EstimateLine", "Hosted", "RunEstimate", "estimate_run"]

_REPAID = (
    "after a crash, answers that were under way are asked and paid again: at most as many as run "
    "at once; the ledger lists them"
)
_TAKEN_DOWN = (
    "hosting: what the evaluation asks through is taken down when it has ended, usually within the "
    "hour, and after {hours:g} hours at the latest; that long is reserved"
)
_USUAL_HOURS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The questions that evaluation puts to one subject.

    Args:
        subject: who answers: ``student``, ``base``, ``present``.
        model: its id; ``ft:BASE`` for a student that is not trained yet.
        rows: questions asked, one a test row.
        input_tokens: of all rows together.
        expected_output_tokens: of all rows together, such as the references' own tokens.
        max_output_tokens: the bound on each single answer.
    """

    subject: str
    model: str
    rows: int
    input_tokens: int
    expected_output_tokens: int
    max_output_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Hosted:
    """The deployments that an evaluation asks through.

    Args:
        sku: as the backend names it.
        deployments: how many.
        hours: that each stands at most.
    """

    sku: str | None
    deployments: int
    hours: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EstimateLine:
    """One row of the estimate's table. Money in US dollars; ``price`` in words with its source.

    ``kind`` is ``train``, ``evaluate`` or ``hosting``, as in the ledger.
    """

    kind: str
    what: str
    model: str
    tokens: int
    tokens_at_most: int
    price: str
    source: str
    expected: Decimal
    at_most: Decimal

    def cells(self) -> tuple[str, ...]:
        """The line as text: what, model, tokens, price, expected, at most."""
        return (
            self.what,
            self.model,
            f"{self.tokens:,}",
            self.price,
            format_usd(self.expected),
            format_usd(self.at_most),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEstimate:
    """A whole run's estimate in US dollars; ``notes`` say what it rests on."""

    lines: tuple[EstimateLine, ...]
    expected: Decimal
    at_most: Decimal
    notes: tuple[str, ...]

    def most(self, kind: str) -> Decimal:
        """The upper bound of all lines of one kind."""
        return add(*(line.at_most for line in self.lines if line.kind == kind))

    def to_json(self) -> dict[str, Json]:
        """The estimate as JSON; sums of money are decimal strings."""
        money = ("expected", "at_most")
        return {
            "lines": [
                {
                    name: format(value, "f") if name in money else value
                    for name, value in asdict(line).items()
                }
                for line in self.lines
            ],
            "expected": format(self.expected, "f"),
            "at_most": format(self.at_most, "f"),
            "notes": list(self.notes),
        }


def estimate_run(
    book: PriceBook,
    *,
    provider: str,
    base_model: str,
    training: Estimate,
    tier: str | None = None,
    asked: Iterable[Asked] = (),
    hosted: Hosted | None = None,
    at: float | None = None,
) -> RunEstimate:
    """What training and evaluating will cost.

    Args:
        book: the prices.
        provider: as ``Capabilities.price_book`` names it.
        base_model: the model to be trained.
        training: billed tokens, epochs counted in, as the backend estimates them.
        tier: of training, and of the answers where nothing is ``hosted``.
        asked: the evaluation's questions, subject by subject.
        hosted: the deployments that answer them, where models answer through those alone.
        at: seconds since the epoch, for prices that changed; now if absent.

    Returns:
        One line for training, one for each subject, one for hosting where there is any;
        ``at_most`` bounds every answer by its ``max_output_tokens``. Completions repeated after a
        crash come on top: a note says so.

    Raises:
        ConfigError: a price is not known.
        DataError: a count is negative, or ``at_most`` is below the expected count.
    """
    questions = tuple(asked)
    answers = tier if hosted is None else hosted.sku
    lines = (
        _training(book, provider, base_model, training, tier),
        *(_evaluation(book, provider, item, answers, at) for item in questions),
        *((_hosting(book, provider, base_model, hosted),) if hosted else ()),
    )
    return RunEstimate(
        lines=lines,
        expected=add(*(line.expected for line in lines)),
        at_most=add(*(line.at_most for line in lines)),
        notes=(
            *training.notes,
            *dict.fromkeys(line.source for line in lines),
            *((_REPAID,) if questions else ()),
            *((_TAKEN_DOWN.format(hours=hosted.hours),) if hosted else ()),
        ),
    )


def _training(
    book: PriceBook, provider: str, base_model: str, training: Estimate, tier: str | None
) -> EstimateLine:
    _require_order("training tokens", training.tokens, training.at_most)
    if training.usd is not None:
        return _told_by_backend(base_model, training, training.usd)
    price = book.training_price(provider, base_model, tier)
    return EstimateLine(
        kind="train",
        what=_passes(training),
        model=base_model,
        tokens=training.tokens,
        tokens_at_most=training.at_most,
        price=f"${_plain(price.usd_per_million)} a million",
        source=f"training price: {price.told}",
        expected=book.training_cost(provider, base_model, training.tokens, tier),
        at_most=book.training_cost(provider, base_model, training.at_most, tier),
    )


def _passes(training: Estimate) -> str:
    each = "epoch" if training.epochs == 1 else "epochs"
    return f"training, {training.epochs} {each}"


def _told_by_backend(base_model: str, training: Estimate, usd: Decimal) -> EstimateLine:
    at_most = usd if training.usd_at_most is None else training.usd_at_most
    if not 0 <= usd <= at_most:
        raise DataError(
            f"the backend estimates ${usd} for the training and at most ${at_most}; a bound is not "
            "below what is expected: tell the plugin's author"
        )
    return EstimateLine(
        kind="train",
        what=_passes(training),
        model=base_model,
        tokens=training.tokens,
        tokens_at_most=training.at_most,
        price="by the hour",
        source="training price: the backend's own, as set for it",
        expected=usd,
        at_most=at_most,
    )


def _evaluation(
    book: PriceBook, provider: str, asked: Asked, tier: str | None, at: float | None
) -> EstimateLine:
    longest = asked.rows * asked.max_output_tokens
    # A reference may be longer than the answer may get.
    likely = min(asked.expected_output_tokens, longest)
    for count in (asked.rows, asked.input_tokens, asked.expected_output_tokens):
        _require_order(f"the questions to {asked.subject}", count, longest + count)
    price = book.inference_price(provider, asked.model, tier=tier, at=at)
    told = "fine-tunes' price" if base_of(asked.model)[1] else "base model's price"
    return EstimateLine(
        kind="evaluate",
        what=f"evaluation, {asked.subject}, {asked.rows:,} rows",
        model=asked.model,
        tokens=asked.input_tokens + likely,
        tokens_at_most=asked.input_tokens + longest,
        price=f"${_plain(price.input)} in, ${_plain(price.output)} out a million",
        source=f"{told}: {price.told}",
        expected=price.cost(Usage(input=asked.input_tokens, output=likely)),
        at_most=price.cost(Usage(input=asked.input_tokens, output=longest)),
    )


def _hosting(book: PriceBook, provider: str, base_model: str, hosted: Hosted) -> EstimateLine:
    price = book.hosting_price(provider, base_model, hosted.sku)
    each = "deployment" if hosted.deployments == 1 else "deployments"
    usual = min(_USUAL_HOURS, hosted.hours)
    return EstimateLine(
        kind="hosting",
        what=f"hosting for the evaluation, {hosted.deployments} {each}, {hosted.sku or 'default'}",
        model=f"ft:{base_model}",
        tokens=0,
        tokens_at_most=0,
        price=f"${_plain(price.usd_per_hour)} an hour each",
        source=f"hosting price: {price.told}",
        expected=times(price.usd_per_hour, Decimal(str(usual * hosted.deployments))),
        at_most=times(price.usd_per_hour, Decimal(str(hosted.hours * hosted.deployments))),
    )


def _require_order(what: str, expected: int, at_most: int) -> None:
    if not 0 <= expected <= at_most:
        raise DataError(
            f"the estimate of {what} counts {expected} and at most {at_most}; counts start at 0 "
            "and the bound is not below what is expected: correct where the counts come from"
        )


def _plain(amount: Decimal) -> str:
    cents = amount.quantize(Decimal("0.01")) if amount == amount.quantize(Decimal("0.01")) else None
    return format(amount.normalize() if cents is None else cents, "f")
