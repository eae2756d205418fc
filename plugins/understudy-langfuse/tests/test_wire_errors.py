from __future__ import annotations

import email.utils

import pytest

from understudy.errors import InvalidData, NotFound, Unavailable
from understudy_langfuse.wire_errors import refusal, retry_after, unreadable

PAGE = "<!DOCTYPE html><html><body>Sign in</body></html>"


def told(status, body=None, headers=None):
    return refusal(
        status, body, headers or {}, server="https://lf.example", what="its observations", now=100.0
    )


def test_a_pause_is_read_as_seconds_or_as_a_date() -> None:
    assert retry_after({"Retry-After": "12.5"}, 0) == 12.5
    date = email.utils.formatdate(160, usegmt=True)
    assert retry_after({"retry-after": date}, 100.0) == 60
    assert retry_after({"retry-after": date}, 500.0) == 0
    assert retry_after({"retry-after": "soon"}, 0) is None
    assert retry_after({}, 0) is None


def test_a_redirect_is_not_followed_with_the_keys() -> None:
    error = told(302, "", {"location": "https://other.example/login?token=abc"})
    assert isinstance(error, NotFound)
    assert "https://other.example/login" in str(error)
    assert "abc" not in str(error)


def test_pages_of_other_sites_are_not_quoted() -> None:
    for error in (
        told(404, PAGE),
        told(500, PAGE),
        unreadable(PAGE, server="https://x", what="y"),
    ):
        assert "Sign in" not in str(error)
    assert isinstance(unreadable(PAGE, server="https://x", what="y"), NotFound)
    assert isinstance(unreadable('{"data": [', server="https://x", what="y"), Unavailable)


def test_long_words_of_the_server_are_cut_to_one_line() -> None:
    error = told(400, {"message": "a\nb " + "x" * 1000})
    assert isinstance(error, InvalidData)
    assert "\n" not in str(error)
    assert len(str(error)) < 500


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 599])
def test_what_may_pass_is_transient(status) -> None:
    assert isinstance(told(status), Unavailable)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_refused_is_not(status) -> None:
    assert isinstance(told(status), InvalidData)
