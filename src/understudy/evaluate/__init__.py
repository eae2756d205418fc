"""Scorers, intervals and verdicts: how good a student is, and how sure that is."""

from understudy.evaluate.report import EvaluationReport, SubjectScore, Verdict, judge
from understudy.evaluate.scorers import BUILTIN, Scorer, load_scorer, resolve, score_rows
from understudy.evaluate.statistics import Interval, mean_interval, paired_difference

__all__ = [
    "BUILTIN",
    "EvaluationReport",
    "Interval",
    "Scorer",
    "SubjectScore",
    "Verdict",
    "judge",
    "load_scorer",
    "mean_interval",
    "paired_difference",
    "resolve",
    "score_rows",
]
