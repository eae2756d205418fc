"""The tables of a run: what it may cost before, what came out after."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from understudy.cli.opened import moment
from understudy.cli.output import note, say, table

if TYPE_CHECKING:
    from understudy.data import Dataset
    from understudy.engine.looking import CurvePoint
    from understudy.evaluate import SubjectScore
    from understudy.pipeline import Prepared
    from understudy.reports import JobReport

__all__ = ["counted", "dataset_line", "prepared_json", "show_prepared", "show_report"]

SANDBOX_OWNER = "understudy-sandbox"
_NARROWEST = 60
_SANDBOX = (
    "The provider was the Understudy sandbox on this machine: its scores, times and bill are its "
    "own, and no figure here is a provider's."
)

Row = tuple[str, str, str]


def counted(counts: Mapping[Any, int]) -> str:
    """Reasons with their counts, the most frequent first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return ", ".join(f"{name} {number:,}" for name, number in ranked)


def dataset_line(dataset: Dataset) -> str:
    """A dataset in one line."""
    splits = ", ".join(f"{name} {info.rows:,}" for name, info in dataset.splits.items())
    dropped = f"; dropped {counted(dataset.rejected)}" if dataset.dropped else ""
    return f"{dataset.id}: {dataset.kept:,} of {dataset.lines:,} rows kept ({splits}){dropped}"


def prepared_json(prepared: Prepared) -> dict[str, Any]:
    """What ``estimate --json`` prints."""
    from understudy.reports import dataset_summary

    return {
        "recipe": prepared.recipe.name,
        "dataset": dataset_summary(prepared.dataset),
        "estimate": prepared.estimate.to_json(),
        "warnings": list(prepared.warnings),
        "closed": str(prepared.closed) if prepared.closed else None,
    }


def show_prepared(prepared: Prepared) -> None:
    """The dataset, the estimate with the sources of its prices, and warnings."""
    from understudy.costs.money import format_usd

    say(f"Dataset {dataset_line(prepared.dataset)}")
    estimate = prepared.estimate
    columns = ("what", "model", "tokens", "price", "expected", "at most")
    sums = ("together", "", "", "", format_usd(estimate.expected), format_usd(estimate.at_most))
    table(columns, [*(line.cells() for line in estimate.lines), sums], title="Estimate")
    for line in estimate.notes:
        say(f"  {line}")
    for warning in prepared.warnings:
        note(f"Warning: {warning}")


def show_report(report: JobReport, curve: Sequence[CurvePoint] = ()) -> None:
    """The one table of a job, under its training curve where the terminal has room for it."""
    _plot(curve)
    table(("what", "figure", "detail"), _rows(report, curve), title=f"Run {report.job.name}")
    if report.model is not None and report.model.owner == SANDBOX_OWNER:
        say(_SANDBOX)


def _rows(report: JobReport, curve: Sequence[CurvePoint]) -> Iterator[Row]:
    job = report.job
    yield ("job", job.id, job.state.value)
    if job.problem:
        yield ("problem", job.problem.get("code") or "", str(job.problem["message"]))
    if report.remote is not None:
        made = "made elsewhere" if report.remote.data.get("made_elsewhere") else ""
        yield (f"job at {job.backend}", report.remote.id, made)
    if report.dataset is not None:
        splits = report.dataset.splits.items()
        yield (
            "rows kept",
            f"{report.dataset.kept:,} of {report.dataset.lines:,}",
            ", ".join(f"{name} {info.rows:,}" for name, info in splits),
        )
        yield ("rows dropped", f"{report.dataset.dropped:,}", counted(report.dataset.rejected))
    yield from _money(report)
    yield from _deployments(report)
    if curve:
        first, last = curve[0], curve[-1]
        figure = f"loss {_loss(first.train_loss)} to {_loss(last.train_loss)}"
        valid = "" if last.valid_loss is None else f", validation loss {_loss(last.valid_loss)}"
        yield ("training", figure, f"{last.step:,} steps{valid}")
    yield from _outcome(report)


def _loss(value: float | None) -> str:
    return "?" if value is None else f"{value:.3f}"


def _money(report: JobReport) -> Iterator[Row]:
    from understudy.costs.money import format_usd

    estimate = report.job.plan.estimate
    if estimate:
        most = f"at most {format_usd(Decimal(estimate['at_most']))}"
        yield ("estimate", format_usd(Decimal(estimate["expected"])), most)
    detail = [
        f"{line.kind} {format_usd(line.spent)}" + (f" ({line.note})" if line.note else "")
        for line in report.costs
    ]
    detail += [
        f"{format_usd(line.reserved)} still set aside for {line.kind}"
        for line in report.costs
        if line.reserved
    ]
    yield ("actual cost", format_usd(report.actual), "; ".join(detail))
    if report.repayments:
        count = len(report.repayments)
        answers = "answer" if count == 1 else "answers"
        yield (
            "maybe paid twice",
            f"at most {format_usd(report.repaid_at_most)}",
            f"{count:,} {answers} lost in a crash and asked again; the provider's bill tells",
        )


def _deployments(report: JobReport) -> Iterator[Row]:
    from understudy.costs.money import format_usd

    for one in report.deployments:
        up = "" if one.hours is None else f", {one.hours:.2f} hours"
        end = "" if one.delete_by is None or one.ended else f", until {moment(one.delete_by)}"
        price = "?" if one.hourly is None else format_usd(one.hourly)
        detail = f"{one.purpose}, {one.sku}, {price} an hour{up}{end}"
        yield (f"deployment {one.name}", one.state, detail)


_SUBJECTS = {"base": "base model", "present": "present model", "teacher labels": "teacher labels"}


def _outcome(report: JobReport) -> Iterator[Row]:
    evaluation = report.evaluation
    if evaluation is not None:
        for subject in evaluation.subjects:
            name = _SUBJECTS.get(subject.subject, subject.subject)
            yield (f"held-out {evaluation.scorer}: {name}", *_score(subject))
        verdict = evaluation.verdict
        word = "passed" if verdict.passed else "rejected"
        yield ("verdict", word, "; ".join(verdict.reasons))
    if report.model is not None:
        owner = report.model.owner or "an owner that it does not name"
        told = f"{report.model.model}, served by {owner}"
        yield ("model version", report.model.id, told)
    alias = report.job.plan.alias
    if alias is not None:
        yield ("alias", alias, _alias(report))


def _score(subject: SubjectScore) -> tuple[str, str]:
    interval = subject.interval
    share = f"{interval.confidence * 100:g} % interval"
    detail = f"{share} {interval.low:.3f} to {interval.high:.3f}, n = {interval.n:,}"
    if subject.failed:
        detail += f", {subject.failed:,} without an answer count as 0"
    return f"{interval.mean:.3f}", detail


def _alias(report: JobReport) -> str:
    if report.alias_target is None:
        return "points at no version yet"
    here = report.model is not None and report.alias_target == report.model.id
    return f"points at {report.alias_target}" + ("" if here else ", not at this job's model")


def _plot(curve: Sequence[CurvePoint]) -> None:
    width = shutil.get_terminal_size().columns
    points = [(point.step, point.train_loss) for point in curve if point.train_loss is not None]
    if len(points) < 2 or width < _NARROWEST or not sys.stdout.isatty():
        return
    import plotext

    figure = plotext.figure
    figure.clear()
    figure.plot_size(min(width, 100), 14)
    signal = figure.signal([step for step, _ in points], [loss for _, loss in points])
    signal.lines(True)
    figure.draw(signal)
    figure.title("training loss")
    figure.label("step", axis=0)
    # Its colours paint a white ground into dark terminals; the shape is what matters.
    say(plotext.uncolorize(figure.build().string()))
    figure.clear()
