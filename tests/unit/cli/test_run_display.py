from __future__ import annotations

import sys

import pytest

from understudy.cli import following, report
from understudy.engine.looking import CurvePoint


def _curve(count: int) -> list[CurvePoint]:
    return [
        CurvePoint(step=step, total_steps=count, train_loss=1 / step, valid_loss=None)
        for step in range(1, count + 1)
    ]


@pytest.mark.parametrize(
    ("width", "terminal", "points", "drawn"),
    [(80, True, 20, True), (40, True, 20, False), (80, False, 20, False), (80, True, 1, False)],
)
def test_the_curve_is_drawn_where_there_is_room(
    monkeypatch, capsys, *, width: int, terminal: bool, points: int, drawn: bool
):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    report._plot(_curve(points))
    out = capsys.readouterr().out
    assert ("training loss" in out) is drawn
    assert "\x1b" not in out
    assert all(len(line) <= width for line in out.splitlines())


def test_reasons_are_counted_most_frequent_first():
    counts = {"flagged": 3, "duplicate": 1200, "error": 3}
    assert report.counted(counts) == "duplicate 1,200, error 3, flagged 3"


def test_sights_keep_the_newest_word_of_each_stage():
    sights = following.Sights()
    for done in range(1, 6):
        sights.notify("job-1", "evaluate student", done, 5)
    sights.notify("job-1", "evaluate base", 1, 5)
    assert sights.take() == [("evaluate student", 5, 5), ("evaluate base", 1, 5)]
    assert sights.take() == []


def test_bars_say_a_thing_once_and_a_new_stage_begins_a_new_bar(capsys):
    with following._Bars(quiet=False) as bars:
        bars.update("upload", 10, 10)
        bars.update("upload", 10, 10)
        bars.update("training", 30, 30, "loss 0.100")
    assert capsys.readouterr().err == "upload: 10/10\ntraining: 30/30 loss 0.100\n"


def test_nothing_is_shown_beside_json(capsys):
    with following._Bars(quiet=True) as bars:
        bars.update("upload", 10, 10)
    told = capsys.readouterr()
    assert told.out + told.err == ""
