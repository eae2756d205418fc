"""What an evaluation found, and the verdict on it. Frozen records with a JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, TypeVar

from pydantic import ConfigDict, TypeAdapter

from understudy.errors import DataError
from understudy.evaluate.statistics import Interval
from understudy.model import Json

__all__ = ["EvaluationReport", "SubjectScore", "Verdict", "judge"]

R = TypeVar("R")
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether a model version may take over, and every reason in words with its figures."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    passed: bool
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """The verdict as a JSON object."""
        return _write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Verdict:
        """The verdict that ``to_json`` wrote.

        Raises:
            DataError: the object has other fields.
        """
        return _read(cls, data)


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectScore:
    """The score of one subject on the test rows.

    ``subject`` is who was judged: ``student``, ``base``, ``teacher labels`` or ``present`` (the
    model that the alias points at). ``model`` is its id, where it has one. ``answered`` rows got
    an answer; ``failed`` rows got none and count as 0.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    subject: str
    model: str | None
    interval: Interval
    answered: int
    failed: int

    def to_json(self) -> dict[str, Json]:
        """The score as a JSON object."""
        return _write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> SubjectScore:
        """The score that ``to_json`` wrote.

        Raises:
            DataError: the object has other fields.
        """
        return _read(cls, data)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationReport:
    """One evaluation of a model version on a dataset's test rows.

    ``against`` is the paired difference student - present, where the alias has a present model.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

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
        return _write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> EvaluationReport:
        """The report that ``to_json`` wrote.

        Raises:
            DataError: the object, or one inside it, has other fields.
        """
        return _read(cls, data)


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


@lru_cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def _write(record: Verdict | SubjectScore | EvaluationReport) -> dict[str, Json]:
    kind: Any = type(record)
    data: dict[str, Json] = _adapter(kind).dump_python(record, mode="json")
    return data


def _read(cls: type[R], data: Mapping[str, Json]) -> R:
    kind: Any = cls
    try:
        record: R = _adapter(kind).validate_python(dict(data))
    except (TypeError, ValueError):
        raise DataError(
            f"a stored {cls.__name__} has missing, unknown or odd fields: it was changed by hand "
            "or written by another version; evaluate the model version again"
        ) from None
    return record
