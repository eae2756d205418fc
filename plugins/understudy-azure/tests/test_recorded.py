"""Every body printed in the Azure notebooks maps to its status, dates, model and tokens."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from recorded_kit import NOTEBOOKS, notebook_objects
from understudy.model import RemoteState, UploadReady
from understudy_azure import wire
from understudy_azure.params import base_model, training_type
from understudy_azure.wire_arm import model_parts
from understudy_openai.wire import file_record, job_handle, job_status, upload_status
from understudy_openai.wire_batch import batch_record
from understudy_openai.wire_values import time

pytestmark = pytest.mark.skipif(
    not NOTEBOOKS.is_file(), reason=f"no recorded outputs at {NOTEBOOKS}"
)

# By hand from the page: id, status, model, tokens, day of creation.
JOBS = {
    "ftjob-22fdc4d28e9e4b80b78b30daeb76cc00": ("queued", None, None, "2025-12-10"),
    "ftjob-3c27f78ad2c141719573c550300bb791": ("queued", None, None, "2025-12-10"),
    "ftjob-46fe1c4edca240248803a9e7ccbbb105": ("queued", None, None, "2025-09-09"),
    "ftjob-70ee3e37776e4428b20685fcd0728abb": (
        "succeeded",
        "gpt-4.1-2025-04-14.ft-70ee3e37776e4428b20685fcd0728abb-gpt41-chart-qa-dev-01",
        129_488_088,
        "2025-05-17",
    ),
    "ftjob-70b83bfc4a2548b081bd3634f63f2503": (
        "succeeded",
        "gpt-4.1-2025-04-14.ft-70b83bfc4a2548b081bd3634f63f2503-gpt41-action-recognition-ft-dev-01",
        371_919_891,
        "2025-05-17",
    ),
}
TIERS = {"globalStandard": "GlobalStandard", "developerTier": "developerTier"}


def text() -> str:
    return NOTEBOOKS.read_text(encoding="utf-8")


def test_jobs() -> None:
    seen = {}
    for body in notebook_objects():
        if body.get("object") == "fine_tuning.job":
            status, handle = job_status(body), job_handle(body)
            day = datetime.fromtimestamp(handle.data["created_at"], UTC).date().isoformat()
            seen[handle.id] = (str(status.state), status.model, status.trained_tokens, day)
            assert handle.data["training_file"] == body["training_file"]
            assert status.problem is None
            if status.state is RemoteState.QUEUED:
                assert status.progress is not None
                assert status.progress.finish_at == body["estimated_finish"]
            tier = body.get("trainingType")
            assert tier is None or training_type(tier) == TIERS[tier]
            if status.model:
                assert base_model(status.model) == body["model"]
                assert model_parts(status.model) == (status.model, "1")
    assert seen == JOBS


def test_files_and_batches() -> None:
    files = [body for body in notebook_objects() if body.get("object") == "file"]
    assert len(files) == 5
    for body in files:
        record = file_record(body)
        assert (record.id, record.bytes) == (body["id"], body["bytes"])
        assert upload_status([record], wire.READY_FILES) == UploadReady()
    (batch,) = [body for body in notebook_objects() if body.get("object") == "batch"]
    record = batch_record(batch)
    assert record.status.state is RemoteState.QUEUED
    assert (record.output_file, record.error_file) == (None, None)


def test_statuses_and_dates_of_printed_tables() -> None:
    page = text()
    row = r"^\d\s+(?:fine_tuning\.job\s+\d+\s+)?(pending|running|succeeded)\b"
    words = re.findall(row, page, re.MULTILINE)
    assert len(words) == 10
    words += re.findall(r"^Status: (\w+)", page, re.MULTILINE)
    states = {str(job_status({"status": word}).state) for word in words}
    assert states == {"queued", "running", "succeeded"}
    dates = re.findall(r"^\d\s+ftjob-\w+\s+(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", page, re.MULTILINE)
    assert len(dates) == 10
    known = {
        str(body.get("id")): body["created_at"]
        for body in notebook_objects()
        if "created_at" in body
    }
    assert time(dates[0]) == known["ftjob-70b83bfc4a2548b081bd3634f63f2503"]
    assert time(dates[1]) == known["ftjob-70ee3e37776e4428b20685fcd0728abb"]


def test_billed_tokens_of_the_printed_log() -> None:
    lines = [{"message": line} for line in text().splitlines()]
    assert wire.billed_tokens(lines) == 7_223_000


def test_the_base_of_a_continued_fine_tune() -> None:
    (named,) = re.findall(r"using base model: (\S+)", text())
    assert base_model(named) == "gpt-4.1-mini-2025-04-14"
