from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from understudy_langfuse.options import LangfuseOptions
from understudy_langfuse.watermark import next_window, query_digest

NOW = 1_790_000_000.0


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@given(
    runs=st.lists(
        st.tuples(st.floats(0, 10_000), st.integers(0, 3)), min_size=2, max_size=6
    ),
    late=st.floats(0, 7200),
    settle=st.floats(0, 600),
)  # fmt: skip
def test_windows_leave_no_gap_and_look_back(runs, late, settle) -> None:
    """Every moment between the first run and the last lies in a window that was read."""
    options = LangfuseOptions(late=late, settle=settle)
    mark, now, covered = None, NOW, None
    for pause, pages in runs:
        now += pause
        window = next_window(mark, options, "q", now)
        if window is None:
            continue
        if covered is not None:
            assert window.start is not None
            assert window.start <= covered - timedelta(seconds=late) + timedelta(milliseconds=1)
        for number in range(pages):
            mark = window.after_page(f"c{number}").mark("q")
            resumed = next_window(mark, options, "q", now + 99)
            assert resumed is not None
            assert (resumed.start, resumed.end) == (window.start, window.end)
            assert resumed.cursor == f"c{number}"
        mark = window.after_page(None).mark("q")
        covered = window.end
        assert at(now - settle) - covered < timedelta(milliseconds=2)


def test_the_options_bound_the_window() -> None:
    options = LangfuseOptions(since=at(NOW - 100), until=at(NOW - 50), late=1000)
    window = next_window(None, options, "q", NOW)
    assert window is not None
    assert (window.start, window.end) == (options.since, options.until)
    again = next_window(window.after_page(None).mark("q"), options, "q", NOW)
    assert again is not None
    assert again.start == options.since
    assert next_window(None, LangfuseOptions(since=at(NOW + 5)), "q", NOW) is None


def test_a_watermark_of_another_query_or_of_another_form_counts_as_none() -> None:
    options = LangfuseOptions()
    whole = next_window(None, options, "q", NOW)
    assert whole is not None
    mark = whole.after_page("c").mark("q")
    for other in ({"x": 1}, "text", [mark], {**mark, "end": "never"}):
        assert next_window(other, options, "q", NOW) == whole
    assert next_window(mark, options, "r", NOW) == whole


def test_the_query_is_what_decides_which_calls_are_found() -> None:
    def digest(**options) -> str:
        return query_digest(LangfuseOptions(**options), "https://a", "pk")

    assert digest() == digest(page_size=7, late=1, settle=1, scores=False, until=at(NOW))
    assert len({digest(), digest(names=["a"]), digest(since=at(NOW))}) == 3
    assert digest() != query_digest(LangfuseOptions(), "https://b", "pk")
    assert digest() != query_digest(LangfuseOptions(), "https://a", "pk2")
