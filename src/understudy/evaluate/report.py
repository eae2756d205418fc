"""What an evaluation found, and the verdict on it. Frozen records with a JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from understudy.errors import DataError
from understudy.evaluate.statistics import Interval
from understudy.model import Json

__all__ = ["EvaluationReport", "SubjectScore", "Verdict", "judge"]

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether a model version may take over, and every reason in words with its figures."""

    passed: bool
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """The verdict as a JSON object."""
        return {"passed": self.passed, "reasons": list(self.reasons)}

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Verdict:
        """The verdict that ``to_json`` wrote.

        Raises:
            DataError: the object has other fields.
        """
        record = _build(cls, data)
        return cls(passed=record.passed, reasons=tuple(record.reasons))


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectScore:
    """The score of one subject on the test rows.

    ``subject`` is who was judged: ``student``, ``base``, ``teacher labels`` or ``present`` (the
    model that the alias points at). ``model`` is its id, where it has one. ``answered`` rows got
    an answer; ``failed`` rows got none and count as 0.
    """

    subject: str
    model: str | None
    interval: Interval
    answered: int
    failed: int

    def to_json(self) -> dict[str, Json]:
        """The score as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> SubjectScore:
        """The score that ``to_json`` wrote.

        Raises:
            DataError: the object has other fields.
        """
        return _build(cls, {**data, "interval": _build(Interval, _part(cls, data, "interval"))})


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationReport:
    """One evaluation of a model version on a dataset's test rows.

    ``against`` is the paired difference student - present, where the alias has a present model.
    """

    dataset_id: str
    scorer: str
    rows: int
    subjects: tuple[SubjectScore, ...]
    against: Interval | None
    verdict: Verdict

    def ranked(self) -> tuple[SubjectScore, ...]:
        """The subjects, best mean first; equal ones keep their order."""
        return tuple(sorted(self.subjects, key=lambda item: -item.interval.mean))

    def to_json(self) -> dict[str, Json]:
        """The report as a JSON object."""
        return {
            "dataset_id": self.dataset_id,
            "scorer": self.scorer,
            "rows": self.rows,
            "subjects": [subject.to_json() for subject in self.subjects],
            "against": None if self.against is None else asdict(self.against),
            "verdict": self.verdict.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> EvaluationReport:
        """The report that ``to_json`` wrote.

        Raises:
            DataError: the object, or one inside it, has other fields.
        """
        against = _part(cls, data, "against")
        return _build(
            cls,
            {
                **data,
                "subjects": tuple(
                    SubjectScore.from_json(item) for item in _part(cls, data, "subjects")
                ),
                "against": None if against is None else _build(Interval, against),
                "verdict": Verdict.from_json(_part(cls, data, "verdict")),
            },
        )


def judge(
    *, student: Interval, bar: float, against: Interval | None = None, margin: float = 0.0
) -> Verdict:
    """Whether the student is good enough, by the cautious end of each interval.

    Args:
        student: the student's score.
        bar: what the lower end of its interval must reach.
        against: the paired difference student - present, where there is a present model.
        margin: by how much the student may be worse than it (lower end of the difference).

    Returns:
        A verdict that passes when every rule holds; one reason a rule, held or not.
    """
    checks = [_against_bar(student, bar)]
    if against is not None:
        checks.append(_against_present(against, margin))
    return Verdict(
        passed=all(held for held, _ in checks), reasons=tuple(reason for _, reason in checks)
    )


def _against_bar(student: Interval, bar: float) -> tuple[bool, str]:
    held = student.low >= bar
    says = "reaches" if held else "stays below"
    reason = f"student scores {student}: the lower end {says} the bar {bar:.3f}"
    if not held and student.mean >= bar:
        reason += "; the mean reaches it, so more test rows might"
    return held, reason


def _against_present(against: Interval, margin: float) -> tuple[bool, str]:
    held = against.low >= -margin
    says = "is within" if held else "is worse than"
    reason = (
        f"student minus present model is {against}: the lower end {says} the margin {-margin:+.3f}"
    )
    if not held and against.mean >= -margin:
        reason += "; the mean is within it, so more test rows might decide"
    return held, reason


def _part(cls: type[Any], data: Mapping[str, Json], name: str) -> Any:
    try:
        return data[name]
    except (KeyError, TypeError):
        raise _damaged(cls) from None


def _build(cls: type[R], data: Mapping[str, Any]) -> R:
    try:
        return cls(**data)
    except TypeError:
        raise _damaged(cls) from None


def _damaged(cls: type[Any]) -> DataError:
    return DataError(
        f"a stored {cls.__name__} has missing or unknown fields: it was changed by hand or "
        "written by another version; evaluate the model version again"
    )
