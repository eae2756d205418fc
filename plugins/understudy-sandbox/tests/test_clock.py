from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy_sandbox import timeline
from understudy_sandbox.clock import Clock, open_clock, parse_start, shutdown_day


def test_sandbox_time_runs_fast_from_its_start() -> None:
    real = [1000.0]
    clock = Clock(start=5e8, anchor=1000.0, speed=60.0, real=lambda: real[0])
    real[0] += 2
    assert clock.now() == 5e8 + 120
    clock.advance(30)
    assert clock.now() == 5e8 + 150


def test_processes_with_one_anchor_agree() -> None:
    options = {"start": "2028-01-01T00:00:00Z", "speed": 100.0, "anchor": 1e9}
    one, two = (open_clock(None, **options) for _ in range(2))
    one.real = two.real = lambda: 1e9 + 7
    assert one.now() == two.now() == parse_start("2028-01-01") + 700


def test_a_kept_clock_goes_on_without_options() -> None:
    kept = Clock(start=5.0, anchor=1.0, speed=3.0, advanced=9.0).stored()
    again = open_clock(kept, start=None, speed=None, anchor=None)
    assert again.stored() == kept


def test_the_clock_never_runs_back() -> None:
    with pytest.raises(ValueError, match="advance"):
        Clock(start=0, anchor=0).advance(-1)


def test_shutdown_dates_follow_the_clock() -> None:
    start = parse_start("2028-02-28T12:00:00Z")
    assert shutdown_day(Clock(start=start, anchor=0, real=lambda: 0.0), 2) == "2028-03-01"


def job(pauses: list, running: float = 20.0) -> dict:
    return {
        "created": 0.0,
        "prepared_at": 0.0,
        "fitted_at": 0.0,
        "final": None,
        "pauses": pauses,
        "timings": {"validating": 2.0, "queued": 3.0, "running": running, "pausing": 1.0},
    }


gaps = st.lists(st.tuples(st.floats(0.1, 50), st.floats(0.1, 50)), max_size=4)


@given(gaps, st.floats(0, 20))
def test_moment_and_active_seconds_are_inverse(steps, active) -> None:
    at, pauses = 5.0, []
    for run, rest in steps:
        pauses.append([at + run, at + run + rest])
        at += run + rest
    made = job(pauses)
    when = timeline.moment(made, active)
    assert when is not None
    assert timeline.active_seconds(made, when) == pytest.approx(active, abs=1e-6)


@given(st.floats(0, 100), st.floats(0, 100))
def test_progress_never_falls(a, b) -> None:
    made = job([[8.0, 12.0], [15.0, 40.0]])
    early, late = sorted((a, b))
    assert timeline.progress(made, early) <= timeline.progress(made, late) <= 1.0


def test_an_open_pause_has_no_end() -> None:
    made = job([[10.0, None]])
    assert timeline.status(made, 10.5) == "pausing"
    assert timeline.status(made, 999.0) == "paused"
    assert timeline.finish_time(made) is None
    assert timeline.progress(made, 999.0) == 0.25
