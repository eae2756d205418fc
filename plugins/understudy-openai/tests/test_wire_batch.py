from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy.errors import DataError
from understudy.model import ChatRequest, RemoteProblem, RemoteState, Usage
from understudy_openai.wire_batch import (
    BATCH_STATES,
    batch_body,
    batch_handle,
    batch_record,
    batch_reply,
    batch_row,
    is_our_batch,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["custom_id", "response", "error", "status", "errors", "usage", "request_counts", "metadata"]
)
ANSWER: dict[str, Any] = {
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 1},
}


def answered(body: object = None, status: object = 200) -> dict[str, object]:
    body = ANSWER if body is None else body
    return {"custom_id": "a", "response": {"status_code": status, "body": body}, "error": None}


def failed(status: object, **error: object) -> dict[str, object]:
    return answered({"error": error}, status)


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        ("validating", "queued"),
        ("in_progress", "running"),
        ("finalizing", "running"),
        ("completed", "succeeded"),
        ("failed", "failed"),
        ("expired", "succeeded"),
        ("cancelling", "cancelling"),
        ("cancelled", "cancelled"),
        ("In_Progress", "running"),
        ("fancy_new_status", "unknown"),
        ("", "unknown"),
    ],
)
def test_batch_statuses(raw: str, state: str) -> None:
    look = batch_record({"id": "batch_1", "status": raw}).status
    assert (look.state, look.raw) == (RemoteState(state), raw)


def test_all_eight_published_statuses_are_mapped() -> None:
    published = "validating failed in_progress finalizing completed expired cancelling cancelled"
    assert set(published.split()) <= set(BATCH_STATES)


def test_a_completed_batch_may_have_no_output_file_at_all() -> None:
    record = batch_record({"id": "b", "status": "completed", "output_file_id": ""})
    assert (record.status.state, record.output_file) == (RemoteState.SUCCEEDED, None)


def test_an_expired_batch_may_show_zero_counts_and_still_have_output() -> None:
    counts = {"total": 0, "completed": 0, "failed": 0}
    told = {"id": "b", "status": "expired", "request_counts": counts, "output_file_id": "file-2"}
    record = batch_record(told)
    assert (record.output_file, record.status.total) == ("file-2", 0)
    assert (record.status.raw, record.status.problem) == ("expired", None)


def test_usage_of_zeros_says_nothing() -> None:
    zeros = {"input_tokens": 0, "output_tokens": 0}
    assert batch_record({"id": "b", "usage": zeros}).status.usage is None
    told = {"input_tokens": 5, "input_tokens_details": {"cached_tokens": 2}, "output_tokens": 3}
    look = batch_record({"id": "b", "usage": told}).status
    assert look.usage == Usage(input=5, output=3, cached=2)


@pytest.mark.parametrize(
    ("error", "over"),
    [
        ({"code": "token_limit_exceeded", "message": "Too much."}, True),
        ({"code": None, "message": "Enqueued token limit reached for m. Limit: 2,000,000."}, True),
        ({"code": "x", "message": "The number of enqueued tokens has passed the limit."}, True),
        ({"code": "invalid_json_line", "message": "This line is no JSON."}, False),
        ({"code": "billing_hard_limit_reached", "message": "Billing hard limit reached."}, False),
    ],
)
def test_an_over_quota_batch_fails_after_create(error: dict[str, object], *, over: bool) -> None:
    errors = {"object": "list", "data": [{"line": None, **error}]}
    look = batch_record({"id": "b", "status": "failed", "errors": errors}).status
    assert (look.state, look.over_quota) == (RemoteState.FAILED, over)
    assert look.problem is not None
    assert look.problem.code == error["code"]
    running = batch_record({"id": "b", "status": "in_progress", "errors": errors}).status
    assert (running.over_quota, running.problem) == (False, None)


def test_a_failed_batch_without_a_reason_says_so() -> None:
    look = batch_record({"id": "b", "status": "failed", "errors": None}).status
    assert look.problem == RemoteProblem(message="the provider gives no reason", code="failed")


def test_the_key_stands_in_the_metadata_whatever_else_does() -> None:
    many = {f"k{number}": "v" for number in range(40)}
    body = batch_body("file-1", key="us-1", metadata=many)
    assert len(body["metadata"]) == 16
    assert body["metadata"]["understudy_key"] == "us-1"
    assert (body["endpoint"], body["completion_window"]) == ("/v1/chat/completions", "24h")


def test_ours_is_told_by_metadata_else_by_the_file() -> None:
    keyed = batch_record({"id": "b", "metadata": {"understudy_key": "k"}, "input_file_id": "f"})
    bare = batch_record({"id": "b", "metadata": None, "input_file_id": "f", "created_at": 7})
    assert is_our_batch(keyed, key="k", file=None)
    assert not is_our_batch(keyed, key="other", file="f")
    assert is_our_batch(bare, key="k", file="f")
    assert not is_our_batch(bare, key="k", file=None)
    handle = batch_handle(bare, key="k")
    assert handle.data == {"key": "k", "created_at": 7.0, "input_file": "f"}
    json.dumps(handle.data)


def test_a_row_asks_what_the_live_request_asks() -> None:
    request = ChatRequest(
        model="m", messages=({"role": "user", "content": "hi"},), sampling={"max_tokens": 5}
    )
    row = batch_row(request, custom_id="r1")
    assert row == {
        "custom_id": "r1",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5},
    }


def test_an_answered_row_has_reply_and_usage() -> None:
    found = batch_reply(answered())
    assert (found.custom_id, found.outcome, found.problem) == ("a", "answered", None)
    assert found.reply is not None
    assert (found.reply.text, found.reply.usage) == ("yes", Usage(input=12, output=1))
    assert not found.reply.usage_counted_here


def test_a_row_without_usage_is_marked_to_be_counted_here() -> None:
    found = batch_reply(answered({**ANSWER, "usage": None}))
    assert found.reply is not None
    assert found.reply.usage_counted_here


def test_a_filtered_answer_is_refused_and_keeps_what_was_billed() -> None:
    cut = {**ANSWER["choices"][0], "finish_reason": "content_filter"}
    found = batch_reply(answered({**ANSWER, "choices": [cut]}))
    assert found.outcome == "refused"
    assert found.problem is not None
    assert found.problem.code == "content_filter"
    assert found.reply is not None
    assert found.reply.usage.input == 12


EXPIRED = {"code": "batch_expired", "message": "The request was not done in time."}


@pytest.mark.parametrize(
    ("row", "outcome", "code"),
    [
        ({"custom_id": "a", "response": None, "error": EXPIRED}, "retry", "batch_expired"),
        ({"custom_id": "a", "response": {}, "error": {"code": "batch_cancelled"}}, "retry", None),
        (failed(429, code="rate_limit_exceeded", message="Slow down."), "retry", None),
        (failed(429), "retry", "429"),
        (failed(408), "retry", "408"),
        (failed(500, message="Oops."), "retry", "500"),
        (failed(503, code=500, message="Oops."), "retry", "500"),
        (answered({"choices": []}), "retry", "truncated"),
        (answered('{"cho'), "retry", "truncated"),
        (failed(400, code="content_filter", message="The prompt was filtered."), "refused", None),
        (failed(400, code="x", message="blocked by content management policy"), "refused", None),
        (failed(400, code="invalid_value", message="temperature"), "invalid", "invalid_value"),
        (failed(404, code="model_not_found", message="no model"), "invalid", "model_not_found"),
        ({"custom_id": "a", "response": None, "error": None}, "retry", "no_reason"),
        ({"custom_id": "a", "response": {"status_code": 400}}, "invalid", "400"),
    ],
)
def test_what_became_of_a_row(row: object, outcome: str, code: str | None) -> None:
    found = batch_reply(row)
    assert found.outcome == outcome
    assert found.problem is not None
    assert found.problem.message
    assert found.problem.code
    if code is not None:
        assert found.problem.code == code


def test_problems_of_rows_hold_no_row_text_and_no_key() -> None:
    secret = "sk-planted-in-a-row-0001"
    message = f'Invalid value in "my aunt lives in Turku" for key {secret}'
    found = batch_reply(failed(400, message=message), secrets=(secret,))
    assert found.problem is not None
    assert not re.search(f"Turku|{secret}", repr(found))


@pytest.mark.parametrize("row", [None, [], {}, {"custom_id": ""}, {"custom_id": 7}])
def test_a_row_that_names_no_request_is_bad_data(row: object) -> None:
    with pytest.raises(DataError, match="names no request"):
        batch_reply(row)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(row=st.dictionaries(FIELDS, JSON, max_size=8), body=JSON, status=JSON)
def test_no_shape_of_json_crashes_the_mapping(row: object, body: object, status: object) -> None:
    assert isinstance(row, dict)
    named = {**row, "custom_id": "x"}
    assert batch_reply(named).custom_id == "x"
    response = {"status_code": status, "body": body}
    assert batch_reply({**named, "response": response}).custom_id == "x"
    assert batch_record({**row, "id": "b"}).id == "b"
