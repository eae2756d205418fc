"""Verdicts say why, and a stored report comes back the same."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import DataError
from understudy.evaluate import EvaluationReport, Interval, SubjectScore, Verdict, judge


def interval(mean, low, high, n=600):
    return Interval(mean=mean, low=low, high=high, n=n, method="wilson", confidence=0.95)


FLOATS = st.floats(-1, 1)
INTERVALS = st.builds(
    Interval,
    mean=FLOATS,
    low=FLOATS,
    high=FLOATS,
    n=st.integers(1, 10**6),
    method=st.sampled_from(["wilson", "bca"]),
    confidence=st.floats(0.5, 0.999),
)
SUBJECTS = st.builds(
    SubjectScore,
    subject=st.sampled_from(["student", "base", "teacher labels", "present"]),
    model=st.none() | st.text(),
    interval=INTERVALS,
    answered=st.integers(0),
    failed=st.integers(0),
)
REPORTS = st.builds(
    EvaluationReport,
    dataset_id=st.text(),
    scorer=st.text(),
    rows=st.integers(0),
    subjects=st.lists(SUBJECTS, max_size=4).map(tuple),
    against=st.none() | INTERVALS,
    verdict=st.builds(
        Verdict, passed=st.booleans(), reasons=st.lists(st.text(), max_size=3).map(tuple)
    ),
)


@given(REPORTS)
def test_a_report_survives_json(report):
    assert EvaluationReport.from_json(json.loads(json.dumps(report.to_json()))) == report


@given(REPORTS)
def test_ranking_puts_the_best_first_and_loses_nobody(report):
    means = [subject.interval.mean for subject in report.ranked()]
    assert means == sorted(means, reverse=True)
    assert sorted(map(repr, report.ranked())) == sorted(map(repr, report.subjects))


@given(REPORTS, st.sampled_from(["dataset_id", "subjects", "against", "verdict", "rows"]))
def test_a_damaged_report_is_refused(report, name):
    data = report.to_json()
    del data[name]
    with pytest.raises(DataError, match="evaluate the model version again"):
        EvaluationReport.from_json(data)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("more", 1),
        ("verdict", {}),
        ("verdict", None),
        ("against", {"mean": 1}),
        ("subjects", [{}]),
        ("subjects", None),
        ("against", "x"),
        ("against", {**asdict(interval(0, -1, 1)), "median": 0}),
        ("verdict", {"passed": 1, "reasons": None}),
        ("subjects", [{"interval": {}}]),
    ],
)
def test_odd_fields_are_refused(name, value):
    report = EvaluationReport(
        dataset_id="d",
        scorer="exact",
        rows=1,
        subjects=(),
        against=None,
        verdict=Verdict(passed=True, reasons=("why",)),
    )
    with pytest.raises(DataError, match="evaluate the model version again"):
        EvaluationReport.from_json({**report.to_json(), name: value})


def test_the_lower_end_decides_and_the_reason_has_the_figures():
    passed = judge(student=interval(0.871, 0.842, 0.896), bar=0.8)
    assert passed == Verdict(
        passed=True,
        reasons=(
            "student scores 0.871 (95 % interval 0.842 to 0.896, 600 rows): "  # noqa: ISC004
            "the lower end reaches the bar 0.800",
        ),
    )
    close = judge(student=interval(0.82, 0.79, 0.85), bar=0.8)
    assert not close.passed
    assert close.reasons[0].endswith(
        "stays below the bar 0.800; the mean reaches it, so more test rows might"
    )
    low = judge(student=interval(0.5, 0.4, 0.6), bar=0.8)
    assert low.reasons[0].endswith("the lower end stays below the bar 0.800")


def test_the_present_model_is_not_to_be_undercut():
    student = interval(0.9, 0.88, 0.92)
    held = judge(student=student, bar=0.8, against=interval(0.0, -0.012, 0.012), margin=0.02)
    assert held.passed
    assert held.reasons[1] == (
        "student minus present model is 0.000 (95 % interval -0.012 to 0.012, 600 rows): the lower "
        "end is within the margin -0.020"
    )
    worse = judge(student=student, bar=0.8, against=interval(-0.05, -0.07, -0.03), margin=0.02)
    assert not worse.passed
    assert "is worse than the margin" in worse.reasons[1]
    assert not worse.reasons[1].endswith("might decide")
    unsure = judge(student=student, bar=0.8, against=interval(0.0, -0.05, 0.05), margin=0.02)
    assert not unsure.passed
    assert unsure.reasons[1].endswith("more test rows might decide")
    assert not judge(student=student, bar=0.95, against=interval(0.1, 0.0, 0.2)).passed


@given(st.floats(0, 1), st.floats(0, 1), st.floats(-1, 1), st.floats(0, 1))
def test_a_verdict_passes_exactly_when_both_rules_hold(low, bar, difference, margin):
    found = judge(
        student=interval(1, low, 1), bar=bar, against=interval(1, difference, 1), margin=margin
    )
    assert found.passed == (low >= bar and difference >= -margin)
    assert len(found.reasons) == 2
