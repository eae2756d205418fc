"""Every recorded fine-tuning, file, batch and model response maps to the status it shows."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import yaml

from recorded_kit import RECORDED as ROOT
from recorded_kit import notebook_objects
from understudy.errors import AuthError, BackendError, InvalidData, NotFound, RateLimited
from understudy.model import RemoteState, UploadFailed, UploadPending, UploadReady
from understudy_openai import Failure, lists, to_error, wire
from understudy_openai.wire_batch import batch_record

pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason=f"no recorded traffic in {ROOT}")

# Written by hand from the raw words, not taken from the plugin's own tables.
JOBS = {
    "created": "queued",
    "pending": "queued",
    "validating_files": "queued",
    "queued": "queued",
    "running": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
}
BATCHES = {
    "validating": "queued",
    "QUEUED": "queued",
    "in_progress": "running",
    "RUNNING": "running",
    "completed": "succeeded",
    "SUCCESS": "succeeded",
    "cancelling": "cancelling",
    "cancelled": "cancelled",
}
FILES = {"uploaded": UploadReady, "processed": UploadReady, "deleted": UploadFailed}
FLOOR = {"fine_tuning.job": 55, "fine-tune": 292, "file": 6300, "batch": 180, "model": 100}
"""Fewest objects of each kind that the recordings hold."""


class Loader(yaml.CSafeLoader):
    """Some recorders write `!binary` where YAML says `!!binary`."""


Loader.add_constructor("!binary", lambda _, node: base64.b64decode(node.value))


def decoded(response: dict[str, Any]) -> Any:
    """The body of a recorded reply as JSON; None where it is none (rows, nothing)."""
    body = response.get("body")
    content = response.get("content") if body is None else body
    if isinstance(content, dict):
        packed = content.get("base64_string")
        content = base64.b64decode(packed) if packed else content.get("string")
    if isinstance(content, bytes) and content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    try:
        return json.loads(content) if content else None
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None


def interactions() -> Iterator[tuple[str, int, str, Any]]:
    """(file, HTTP status, address, body) of every recorded reply that is JSON."""
    for path in sorted(ROOT.rglob("*.y*ml")):
        taped = yaml.load(path.read_text(encoding="utf-8"), Loader)
        for one in taped.get("http_interactions") or taped["interactions"]:
            response, status = one["response"], one["response"].get("status")
            code = status["code"] if isinstance(status, dict) else response.get("status_code", 200)
            body = decoded(response)
            if body is not None:
                yield path.name, code, one["request"]["uri"], body


def objects(body: Any) -> Iterator[dict[str, Any]]:
    """Every object of the wire in ``body``, nested ones too."""
    if isinstance(body, dict):
        if isinstance(body.get("object"), str):
            yield body
        for value in body.values():
            yield from objects(value)
    elif isinstance(body, list):
        for value in body:
            yield from objects(value)


def check(one: dict[str, Any]) -> str:
    """Map ``one`` and hold it against what it says; gives the kind, or '' for other wires."""
    kind, status = str(one["object"]), str(one.get("status"))
    if kind in {"fine_tuning.job", "fine-tune"}:
        mapped = wire.job_status(one)
        assert (mapped.state, mapped.raw) == (RemoteState(JOBS[status]), status)
        assert (mapped.problem is None) == (status != "failed")
        assert mapped.model == (one.get("fine_tuned_model") or None)
        handle = wire.job_handle(one)
        assert handle.id == one["id"]
        assert handle.data["created_at"] == one["created_at"]
        assert handle.data["training_file"].startswith("file-")
    elif kind == "file":
        record = wire.file_record(one)
        assert (record.id, record.deleted) == (one["id"], one.get("deleted", False))
        if not record.deleted:
            assert isinstance(wire.upload_status([record]), FILES[status])
            assert record.bytes == one["bytes"]
    elif kind == "batch":
        batch = batch_record(one)
        look = batch.status
        assert (look.state, look.raw) == (RemoteState(BATCHES[status]), status)
        assert batch.output_file == (one.get("output_file_id") or one.get("output_file") or None)
        assert look.completed == one.get("request_counts", {}).get("completed")
    elif kind == "model":
        model = wire.model_record(one)
        assert (model.id, model.owner) == (one["id"], one.get("owned_by"))
        assert model.deleted == one.get("deleted", False)
    elif kind in {"fine_tuning.job.event", "fine-tune-event"}:
        event = wire.event(one)
        assert (event.at, event.level) == (one["created_at"], one["level"])
        assert event.id
    elif kind == "list":
        assert len(wire.rows(one)) == len(one["data"])
    else:
        return ""
    return kind


def test_every_recorded_object_maps_to_the_status_it_shows() -> None:
    bodies = [body for *_, body in interactions()]
    printed = list(notebook_objects())
    counted = Counter(check(one) for body in (*bodies, *printed) for one in objects(body))
    assert {kind: counted[kind] for kind in FLOOR if counted[kind] < FLOOR[kind]} == {}
    mapped = [one for one in bodies if isinstance(one, dict) and "object" in one and check(one)]
    assert len(mapped) >= 230
    assert counted["list"] >= 36
    assert counted["fine-tune-event"] + counted["fine_tuning.job.event"] >= 108
    assert len(printed) >= 8


def test_every_recorded_refusal_maps_to_the_error_it_is() -> None:
    expected = {
        "invalid_api_key": AuthError,
        "rate_limit_exceeded": RateLimited,
        "fine_tune_not_found": NotFound,
        "model_not_found": NotFound,
    }
    seen: Counter[str] = Counter()
    for name, status, uri, body in interactions():
        told = body.get("error") if isinstance(body, dict) else None
        if status < 400 or "openai.com" not in uri or not isinstance(told, dict):
            continue
        failure = Failure(kind="status", status=status, **told)
        error = to_error(failure, what="ask", paid=False)
        wanted = expected.get(told["code"], NotFound if status == 404 else BackendError)
        assert isinstance(error, wanted), (name, told)
        assert "OPENAI_ACCESS_TOKEN" not in str(error)
        seen[type(error).__name__] += 1
    assert sum(seen.values()) >= 27
    assert seen["RateLimited"] >= 5
    assert seen["AuthError"] >= 1


def test_cancelling_a_job_that_has_ended_is_an_error_without_a_code() -> None:
    told = [
        body["error"]
        for *_, body in interactions()
        if isinstance(body, dict) and "Cannot cancel" in str(body.get("error"))
    ]
    assert told
    for one in told:
        error = to_error(Failure(kind="status", status=400, **one), what="cancel", paid=False)
        assert type(error) is InvalidData
        assert "'succeeded'" in str(error)


def test_words_printed_in_notebooks_are_known_statuses() -> None:
    text = (ROOT / "azure_notebook_outputs.txt").read_text(encoding="utf-8")
    words = re.findall(r"^Status: (\w+)", text, re.MULTILINE)
    assert words
    assert {wire.job_state(word) for word in words} == {RemoteState.QUEUED}
    assert not isinstance(
        wire.upload_status([wire.file_record({"id": "f", "status": "pending"})]), UploadReady
    )


def ended_after(body: Any, after: str | None) -> Any:
    return body if after is None else {}


def test_recorded_lists_are_read_to_their_end() -> None:
    ends = 0
    for *_, body in interactions():
        if isinstance(body, dict) and body.get("object") == "list" and not body.get("has_more"):
            pages = list(lists.walk(partial(ended_after, body), what=""))
            assert pages[0] is body
            ends += 1
    assert ends >= 20


def test_pending_files_of_azure_are_waited_for() -> None:
    file = wire.file_record({"id": "file-1", "status": "pending"})
    assert wire.upload_status([file]) == UploadPending()
