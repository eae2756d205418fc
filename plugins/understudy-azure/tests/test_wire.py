"""Each quirk of Azure's data plane, in the pure mapping."""

from __future__ import annotations

from dataclasses import replace

import pytest

from azure_kit import TUNED, job
from understudy.model import JobSpec, RemoteState
from understudy_azure import wire
from understudy_openai.wire import checkpoint, file_record, job_handle, job_status, upload_status
from understudy_openai.wire_values import rows


def body(spec: JobSpec, tier: str = "GlobalStandard") -> dict[str, object]:
    return wire.job_body(spec, training="file-1", validation=None, key="k-1", tier=tier)


def test_the_tier_stands_in_the_body(spec: JobSpec) -> None:
    assert body(spec)["extra_body"] == {"trainingType": "GlobalStandard"}
    assert body(spec, "developer")["extra_body"] == {"trainingType": "developerTier"}
    chosen = replace(spec, hyperparameters={"training_type": "regional", "n_epochs": 2})
    assert body(chosen)["extra_body"] == {"trainingType": "Standard"}
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}
    assert body(chosen)["method"] == method


def test_no_metadata_is_sent_and_the_suffix_stays_the_users(spec: JobSpec) -> None:
    sent = body(spec)
    assert "metadata" not in sent
    assert sent["suffix"] == "unit"
    assert "k-1" not in str(sent)


def test_dpo_has_an_l2_multiplier(spec: JobSpec) -> None:
    chosen = {"beta": 0.1, "l2_multiplier": 0.2}
    sent = body(replace(spec, method="dpo", hyperparameters=chosen))
    assert sent["method"] == {"type": "dpo", "dpo": {"hyperparameters": chosen}}


def test_continual_fine_tuning_names_the_fine_tune(spec: JobSpec) -> None:
    assert body(replace(spec, base_model=TUNED))["model"] == TUNED


def test_an_import_names_purpose_file_and_blob() -> None:
    made = wire.import_body("https://b/f?sig=x", "f.jsonl")
    assert made == {
        "purpose": "fine-tune",
        "filename": "f.jsonl",
        "content_url": "https://b/f?sig=x",
    }


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        ("created", RemoteState.QUEUED),
        ("pending", RemoteState.QUEUED),
        ("validating_files", RemoteState.QUEUED),
        ("running", RemoteState.RUNNING),
        ("pausing", RemoteState.PAUSING),
        ("paused", RemoteState.PAUSED),
        ("resuming", RemoteState.RESUMING),
        ("Succeeded", RemoteState.SUCCEEDED),
        ("cancelled", RemoteState.CANCELLED),
        ("failed", RemoteState.FAILED),
        ("notRunning", RemoteState.UNKNOWN),
    ],
)
def test_statuses_of_jobs(raw: str, state: RemoteState) -> None:
    assert job_status(job(status=raw)).state is state


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("pending", "UploadPending"),
        ("uploaded", "UploadPending"),
        ("running", "UploadPending"),
        ("processed", "UploadReady"),
        ("error", "UploadFailed"),
        ("deleting", "UploadFailed"),
        ("deleted", "UploadFailed"),
    ],
)
def test_only_a_processed_file_can_be_trained_on(raw: str, kind: str) -> None:
    file = file_record({"id": "file-1", "status": raw})
    assert type(upload_status([file], wire.READY_FILES)).__name__ == kind


def test_hyperparameters_of_minus_one_say_nothing() -> None:
    status = job_status(job(status="running"))
    assert status.state is RemoteState.RUNNING
    assert "-1" not in str(status)


def test_negative_trained_tokens_are_none_and_the_log_says_what_was_billed() -> None:
    status = job_status(job(status="succeeded", trained_tokens=-12))
    assert status.trained_tokens is None
    newest = [{"message": "Training tokens billed: 7,223,000"}, {"message": "Job succeeded."}]
    billed = wire.with_tokens(status, wire.billed_tokens(newest))
    assert billed.trained_tokens == billed.fields["trained_tokens"] == 7_223_000
    assert wire.billed_tokens([{"message": "Step 10: training loss=1"}, {}]) is None
    assert wire.with_tokens(status, None) is status


def test_only_ended_jobs_that_are_paid_for_are_billed() -> None:
    states = {raw: wire.is_billed(job_status(job(status=raw))) for raw in ("failed", "running")}
    assert states == {"failed": False, "running": False}
    assert wire.is_billed(job_status(job(status="cancelled")))


def test_dates_are_iso_or_seconds() -> None:
    iso = job_handle(job(created_at="2025-05-17T11:07:16Z"))
    assert iso.data["created_at"] == job_handle(job(created_at=1_747_480_036)).data["created_at"]
    assert wire.day("2026-10-01T00:00:00Z") == wire.day(1_790_812_800) == "2026-10-01"
    assert wire.day(None) is None


def test_lists_stand_under_value_too() -> None:
    assert rows({"value": [{"id": "ftjob-1"}]}) == [{"id": "ftjob-1"}]


def test_checkpoints_have_ids_of_their_own() -> None:
    point = checkpoint(
        {"id": "ftchkpt-1", "fine_tuned_model_checkpoint": f"{TUNED}:ckpt-step-9", "step_number": 9}
    )
    assert (point.id, point.step) == ("ftchkpt-1", 9)


def test_an_unsafe_file_fails_the_job_with_its_code() -> None:
    error = {"code": "unsafe_file", "message": "Training data was flagged."}
    status = job_status(job(status="failed", error=error))
    assert status.problem is not None
    assert status.problem.code == "unsafe_file"


def test_the_error_of_a_failed_job_may_be_a_number_or_missing() -> None:
    numbered = job_status(job(status="failed", error={"code": "500", "message": "Internal error."}))
    assert numbered.problem is not None
    assert numbered.problem.code == "500"
    assert job_status(job(status="failed", error=None)).problem is not None
    assert job_status(job(status="succeeded", error={})).problem is None


def test_dates_of_a_model_on_the_data_plane() -> None:
    shown = {"id": "gpt-4.1", "deprecation": {"fine_tune": 1_790_812_800, "inference": 1822348800}}
    life = wire.lifecycle(shown, model=TUNED, host="h")
    assert (life.model, life.training_until, life.inference_until) == (
        TUNED,
        "2026-10-01",
        "2027-10-01",
    )
    v1 = {"id": "gpt-4.1", "shutdown_date": "2027-10-01"}
    assert wire.lifecycle(v1, model="gpt-4.1", host="h").inference_until == "2027-10-01"
