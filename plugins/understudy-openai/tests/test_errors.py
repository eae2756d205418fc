"""One map from the SDK's exceptions; none is left out."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import httpx2
import openai
import pytest

from openai_kit import KEY, error
from understudy.errors import (
    AuthError,
    BackendError,
    InvalidData,
    NotEligible,
    NotFound,
    OutcomeUnknown,
    QuotaError,
    RateLimited,
    Retired,
    Unavailable,
)
from understudy_openai import Failure, to_error
from understudy_openai.connection import timeouts
from understudy_openai.wire_errors import EXCEPTIONS, failure_of, kind_of, retry_after

REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/fine_tuning/jobs")


def sdk_exceptions() -> set[type[BaseException]]:
    from openai import _exceptions

    found = {
        value
        for module in (openai, _exceptions)
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, BaseException) and value.__module__.startswith("openai")
    }
    todo = [*found]
    while todo:
        for cls in todo.pop().__subclasses__():
            if cls.__module__.startswith("openai") and cls not in found:
                found.add(cls)
                todo.append(cls)
    return found


def test_no_exception_of_the_installed_sdk_is_left_out() -> None:
    names = {cls.__name__ for cls in sdk_exceptions()}
    assert len(names) >= 15
    assert names - set(EXCEPTIONS) == set()


def test_a_subclass_that_comes_later_is_taken_for_its_parent() -> None:
    class Later(openai.RateLimitError):
        pass

    response = httpx2.Response(429, request=REQUEST)
    assert kind_of(Later("x", response=response, body=None)) == "status"
    assert kind_of(KeyError("x")) == "usage"


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        (400, {"code": "invalid_file", "message": "Bad rows"}, InvalidData),
        (400, {"code": "model_not_found"}, NotFound),
        (400, {"code": "billing_hard_limit_reached"}, QuotaError),
        (400, {"message": "The model gpt-x has been deprecated"}, Retired),
        (401, {"code": "invalid_api_key"}, AuthError),
        (402, {}, QuotaError),
        (403, {"message": "You may not do this"}, AuthError),
        (403, {"message": "This organization is not eligible for fine-tuning"}, NotEligible),
        (403, {"message": "You are not allowed to create a fine-tuning job"}, NotEligible),
        (403, {"code": "unsupported_country_region_territory"}, NotEligible),
        (403, {"code": "model_not_found"}, NotFound),
        (404, {}, NotFound),
        (404, {"code": "model_not_found", "message": "The model x was shut down"}, Retired),
        (410, {"message": "The model is off"}, Retired),
        (413, {}, InvalidData),
        (422, {}, InvalidData),
        (429, {}, RateLimited),
        (429, {"code": "insufficient_quota"}, QuotaError),
        (429, {"type": "insufficient_quota"}, QuotaError),
        (307, {}, NotFound),
        (408, {}, Unavailable),
        (409, {}, Unavailable),
        (500, {}, Unavailable),
        (503, {}, Unavailable),
    ],
)
def test_status_to_error(status: int, fields: dict[str, Any], expected: type) -> None:
    made = to_error(Failure(kind="status", status=status, **fields), what="ask", paid=False)
    assert type(made) is expected
    assert made.status == status
    assert str(made).startswith("could not ask: HTTP ")
    again = pickle.loads(pickle.dumps(made))
    assert (str(again), again.code) == (str(made), made.code)


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504])
def test_a_paid_request_with_a_doubtful_reply_has_an_unknown_outcome(status: int) -> None:
    made = to_error(Failure(kind="status", status=status), what="create", paid=True)
    assert type(made) is OutcomeUnknown
    assert "look for it" in str(made)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429])
def test_a_paid_request_that_was_refused_is_not_in_doubt(status: int) -> None:
    made = to_error(Failure(kind="status", status=status), what="create", paid=True)
    assert not isinstance(made, OutcomeUnknown)


@pytest.mark.parametrize("kind", ["timeout", "connection", "reply"])
def test_trouble_on_the_way(kind: str) -> None:
    failure = Failure(kind=kind)  # type: ignore[arg-type]
    assert type(to_error(failure, what="x", paid=True)) is OutcomeUnknown
    assert type(to_error(failure, what="x", paid=False)) is Unavailable
    never = Failure(kind=kind, sent=False)  # type: ignore[arg-type]
    assert type(to_error(never, what="x", paid=True)) is Unavailable


def test_too_many_jobs_comes_with_type_invalid_request_error() -> None:
    told: Any = {"type": "invalid_request_error", "code": "rate_limit_exceeded"}
    for status in (429, 400):
        failure = Failure(kind="status", status=status, retry_after=7.0, **told)
        made = to_error(failure, what="create", paid=True)
        assert isinstance(made, RateLimited)
        assert made.retry_after == 7


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "5"}, 5.0),
        ({"retry-after": "600"}, 600.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        (
            {
                "retry-after": "Wed, 21 Oct 2015 07:28:30 GMT",
                "date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            30.0,
        ),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
    ],
)
def test_retry_after_is_seconds_milliseconds_or_a_date(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers) == seconds


def test_facts_are_taken_from_the_sdks_exception() -> None:
    response = error(429, "Slow down", code="rate_limit_exceeded", headers={"retry-after": "5"})
    response.request = REQUEST
    body = response.json()["error"]
    failure = failure_of(openai.RateLimitError("x", response=response, body=body))
    assert (failure.kind, failure.status, failure.code) == ("status", 429, "rate_limit_exceeded")
    assert (failure.retry_after, failure.message) == (5.0, "Slow down")


def test_a_redirect_is_refused_and_not_followed() -> None:
    made = to_error(Failure(kind="status", status=301), what="ask", paid=False)
    assert "base_url" in str(made)


def test_no_secret_in_message_code_or_pickle() -> None:
    failure = Failure(kind="status", status=401, code=f"bad {KEY}", message=f"key {KEY}")
    made: BackendError = to_error(failure, what="ask", paid=False, secrets=(KEY,))
    assert KEY.encode() not in pickle.dumps(made)
    assert KEY not in f"{made!r} {made} {vars(made)}"


def test_the_phases_of_a_request_stay_under_its_timeout() -> None:
    for total in (1.0, 10.0, 45.0, 60.0):
        limit = timeouts(total)
        phases = (limit.connect, limit.pool, limit.write, limit.read)
        assert sum(phase or 0 for phase in phases) == pytest.approx(total)
