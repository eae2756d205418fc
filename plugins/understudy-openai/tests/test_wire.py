"""Quirks of the wire, one test each."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy.model import (
    ChatRequest,
    RemoteProblem,
    RemoteState,
    UploadFailed,
    UploadPending,
    UploadReady,
)
from understudy_openai import chat_body, chat_reply, wire
from understudy_openai.wire_values import time

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "status",
        "error",
        "metadata",
        "created_at",
        "estimated_finish",
        "trained_tokens",
        "fine_tuned_model",
        "data",
        "errors",
        "request_counts",
        "bytes",
        "filename",
        "training_file",
        "training_files",
        "level",
        "message",
        "choices",
        "usage",
        "metrics",
        "step_number",
        "fine_tuned_model_checkpoint",
        "shutdown_date",
        "owned_by",
        "deleted",
    ]
)


def job(**fields: object) -> dict[str, object]:
    return {"id": "ftjob-1", "created_at": 1_700_000_000, "status": "running", **fields}


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        ("validating_files", "queued"),
        ("queued", "queued"),
        ("running", "running"),
        ("pausing", "pausing"),
        ("paused", "paused"),
        ("resuming", "resuming"),
        ("succeeded", "succeeded"),
        ("failed", "failed"),
        ("cancelled", "cancelled"),
        ("created", "queued"),
        ("pending", "queued"),
        ("Succeeded", "succeeded"),
    ],
)
def test_job_statuses(raw: str, state: str) -> None:
    status = wire.job_status(job(status=raw))
    assert (status.state, status.raw) == (RemoteState(state), raw)


@pytest.mark.parametrize("raw", ["fancy_new_status", "", None, 7, "succeeded!"])
def test_an_unknown_status_is_unknown_and_kept(raw: object) -> None:
    status = wire.job_status(job(status=raw))
    assert status.state is RemoteState.UNKNOWN
    assert status.raw == (raw if isinstance(raw, str) else "")
    assert not status.state.terminal


@pytest.mark.parametrize("error", [None, {}, {"code": None, "message": None}, {"message": ""}])
def test_error_on_a_succeeded_job_may_be_an_empty_object(error: object) -> None:
    status = wire.job_status(job(status="succeeded", error=error, fine_tuned_model="ft:m"))
    assert (status.state, status.problem) == (RemoteState.SUCCEEDED, None)


def test_a_failed_job_is_judged_by_its_status_even_without_a_reason() -> None:
    status = wire.job_status(job(status="failed", error={}))
    assert status.problem == RemoteProblem(message="the provider gives no reason")


def test_a_failed_job_tells_code_and_place() -> None:
    told = {"code": "unsafe_file", "message": "It was refused.", "param": "training_file"}
    status = wire.job_status(job(status="failed", error=told))
    assert status.problem == RemoteProblem(
        message="It was refused.", code="unsafe_file", param="training_file"
    )
    assert status.fields["error_code"] == "unsafe_file"


@pytest.mark.parametrize("none", [None, "", "absent"])
def test_absent_null_and_empty_all_mean_none(none: str | None) -> None:
    names = ("finished_at", "fine_tuned_model", "trained_tokens", "estimated_finish")
    told = {} if none == "absent" else dict.fromkeys(names, none)
    status = wire.job_status(job(**told))
    assert (status.model, status.trained_tokens, status.progress) == (None, None, None)
    assert status.fields == {"status": "running"}


def test_trained_tokens_may_be_negative() -> None:
    assert wire.job_status(job(trained_tokens=-1)).trained_tokens is None
    assert wire.job_status(job(trained_tokens=0)).trained_tokens == 0


def test_dates_may_be_numbers_strings_or_iso() -> None:
    assert time(1_700_000_000) == 1_700_000_000
    assert time("1700000000") == 1_700_000_000
    assert time("2023-11-14T22:13:20Z") == 1_700_000_000
    assert time("2023-11-14T22:13:20") == 1_700_000_000
    assert [time(value) for value in (None, "", 0, -1, True, "soon", float("nan"))] == [None] * 7


def test_fields_are_few_and_unknown_ones_stay_out() -> None:
    status = wire.job_status(job(secret_note="row text", training_rows=["row text"], user="x"))
    assert status.fields == {"status": "running"}


def test_the_estimated_finish_is_progress_while_it_runs() -> None:
    status = wire.job_status(job(estimated_finish=1_700_000_100))
    assert status.progress is not None
    assert status.progress.finish_at == 1_700_000_100
    done = wire.job_status(job(status="succeeded", estimated_finish=1_700_000_100))
    assert done.progress is None


def test_metadata_may_be_null_and_then_the_training_file_decides() -> None:
    assert wire.is_ours(job(metadata={wire.KEY: "k"}), key="k", file=None)
    assert wire.is_ours(job(metadata=None, training_file="file-1"), key="k", file="file-1")
    assert not wire.is_ours(job(metadata=None, training_file="file-1"), key="k", file=None)
    other = job(metadata={wire.KEY: "other"}, training_file="file-1")
    assert not wire.is_ours(other, key="k", file="file-1")


def test_jobs_of_2021_list_whole_training_files() -> None:
    old = job(object="fine-tune", training_files=[{"id": "file-9", "object": "file"}])
    assert wire.job_handle(old).data["training_file"] == "file-9"


def test_a_list_may_stand_under_value() -> None:
    assert wire.rows({"value": [{"id": "a"}]}) == [{"id": "a"}]
    assert wire.rows({"data": [{"id": "a"}, None, "x"]}) == [{"id": "a"}]
    assert wire.rows({"data": None}) == []


def test_a_job_list_has_no_first_and_last_id() -> None:
    assert wire.has_more({"object": "list", "data": [], "has_more": False}) is False
    assert wire.has_more({"object": "list", "data": []}) is None


@pytest.mark.parametrize(
    ("status", "result"),
    [
        ("uploaded", UploadReady()),
        ("processed", UploadReady()),
        (None, UploadReady()),
        ("pending", UploadPending()),
        ("running", UploadPending()),
        ("something_new", UploadPending()),
    ],
)
def test_file_statuses(status: str | None, result: object) -> None:
    assert wire.upload_status([wire.file_record({"id": "file-1", "status": status})]) == result


def test_a_file_in_error_says_why_without_row_text() -> None:
    told = {"id": "file-1", "status": "error", "status_details": 'line 2: "my secret row" is bad'}
    status = wire.upload_status([wire.file_record(told)])
    assert status == UploadFailed(
        message="file file-1 is 'error': line 2: '...' is bad", code="error"
    )


def test_the_last_checkpoint_has_no_step_in_its_name() -> None:
    told = {
        "id": "ftckpt_1",
        "fine_tuned_model_checkpoint": "ft:gpt-4o-mini-2024-07-18:org::abc",
        "step_number": 30,
        "metrics": {"step": 30.0, "train_loss": 0.1, "note": "text", "bad": None},
    }
    made = wire.checkpoint(told)
    assert (made.model, made.step) == ("ft:gpt-4o-mini-2024-07-18:org::abc", 30)
    assert made.metrics == {"step": 30.0, "train_loss": 0.1}


def test_events_before_2023_have_no_id_and_get_a_stable_one() -> None:
    told = {"object": "fine-tune-event", "created_at": 5, "level": "info", "message": "Created"}
    assert wire.event(told).id == wire.event(dict(told)).id
    assert wire.event(told).id != wire.event({**told, "message": "Ended"}).id


def test_lifecycle_takes_the_shutdown_date_of_the_model() -> None:
    model = {"id": "gpt-4o", "shutdown_date": "2028-05-01", "owned_by": "system"}
    dates = wire.lifecycle(model, host="127.0.0.1")
    assert (dates.inference_until, dates.training_until) == ("2028-05-01", "2028-05-01")
    unknown = wire.lifecycle({"id": "gpt-4o", "shutdown_date": None}, host="127.0.0.1")
    assert (unknown.inference_until, unknown.training_until) == (None, None)


def test_openai_itself_ends_training_for_all_on_one_day() -> None:
    dates = wire.lifecycle({"id": "gpt-9", "shutdown_date": "2029-01-01"}, host="api.openai.com")
    assert (dates.inference_until, dates.training_until) == ("2029-01-01", "2027-01-06")
    assert "deprecations page" in dates.source


def test_max_tokens_is_renamed_for_reasoning_models_only() -> None:
    asked = ChatRequest(model="o4-mini", messages=(), sampling={"max_tokens": 5})
    assert chat_body(asked)["max_completion_tokens"] == 5
    plain = ChatRequest(model="ft:gpt-4o-mini:x::y", messages=(), sampling={"max_tokens": 5})
    assert chat_body(plain)["max_tokens"] == 5


def test_usage_that_is_not_given_is_marked_to_be_counted_here() -> None:
    told = {"choices": [{"message": {"role": "assistant", "content": "a"}}]}
    reply = chat_reply(told, asked="m")
    assert reply.usage_counted_here
    assert (reply.usage.input, reply.usage.output, reply.model) == (0, 0, "m")
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": None}
    assert not chat_reply({**told, "usage": usage}, asked="m").usage_counted_here


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=JSON | st.dictionaries(FIELDS, JSON, max_size=8))
def test_no_shape_of_json_crashes_the_mapping(body: object) -> None:
    with_id = {**body, "id": "x"} if isinstance(body, dict) else {"id": "x"}
    assert wire.job_status(body).state in RemoteState
    assert wire.job_handle(with_id).id == "x"
    assert wire.file_record(with_id).id == "x"
    assert wire.model_record(with_id).id == "x"
    assert wire.event(body).id
    assert isinstance(wire.rows(body), list)
    for strict in (wire.job_handle, wire.file_record):
        with pytest.raises(ValueError, match="no id"):
            strict({})
