"""Files, events, checkpoints, models and answers, against a wire that is a function."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest

from openai_kit import FILES, JOB, JOBS, KEY, Wire, error, job, make_backend, page, paged, rows_of
from understudy.errors import (
    InvalidData,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from understudy.model import (
    ChatRequest,
    Handle,
    JobSpec,
    UploadFailed,
    UploadReady,
)
from understudy_openai import uploads

# -- events, checkpoints, models ---------------------------------------------------------------


def event(number: int) -> dict[str, Any]:
    data = {"step": number, "train_loss": 1 / number, "note": "x"}
    return {
        "object": "fine_tuning.job.event",
        "id": f"ftevent-{number}",
        "created_at": 1_700_000_000 + number // 50,
        "level": "info",
        "message": f"Step {number}",
        "type": "metrics",
        "data": data,
    }


def test_events_come_oldest_first_over_many_pages(backend: Any, wire: Wire) -> None:
    wire.on("GET", f"{JOBS}/ftjob-1/events", paged([event(n) for n in range(250, 0, -1)]))
    found = list(backend.events(JOB, after=None))
    assert [one.id for one in found] == [f"ftevent-{n}" for n in range(1, 251)]
    assert found[1].metrics == {"step": 2, "train_loss": 0.5}


def test_events_after_one_are_read_no_further_than_it(backend: Any, wire: Wire) -> None:
    wire.on("GET", f"{JOBS}/ftjob-1/events", paged([event(n) for n in range(250, 0, -1)]))
    found = list(backend.events(JOB, after="ftevent-245"))
    assert [one.id for one in found] == [f"ftevent-{n}" for n in range(246, 251)]
    assert len(wire.requests) == 1


def test_checkpoints_come_by_step(backend: Any, wire: Wire) -> None:
    made = [
        {"id": f"c{n}", "step_number": n * 10, "fine_tuned_model_checkpoint": f"ft:m::x:ckpt-{n}"}
        for n in (3, 2, 1)
    ]
    made.append({"id": "c0", "step_number": 1, "fine_tuned_model_checkpoint": None})
    wire.on("GET", f"{JOBS}/ftjob-1/checkpoints", page(*made))
    assert [one.step for one in backend.checkpoints(JOB)] == [10, 20, 30]


def test_the_model_of_a_job_and_who_serves_it(backend: Any, wire: Wire) -> None:
    done = job(1, status="succeeded", fine_tuned_model="ft:gpt-4o-mini:o::x")
    wire.on("GET", f"{JOBS}/ftjob-1", done)
    wire.on("GET", "/models/ft:gpt-4o-mini:o::x", {"id": "ft:gpt-4o-mini:o::x", "owned_by": "me"})
    ref = backend.model(JOB)
    assert (ref.backend, ref.id, ref.owner) == ("openai", "ft:gpt-4o-mini:o::x", "me")
    assert ref.base_model == "gpt-4o-mini-2024-07-18"


@pytest.mark.parametrize(
    "shown",
    [
        job(1, status="running"),
        job(1, status="succeeded"),
        job(1, status="succeeded", fine_tuned_model="ft:gone"),
        job(1, status="failed", fine_tuned_model="ft:x"),
    ],
)
def test_no_model_is_not_found(backend: Any, wire: Wire, shown: dict[str, Any]) -> None:
    wire.on("GET", f"{JOBS}/ftjob-1", shown)
    with pytest.raises(NotFound):
        backend.model(JOB)


def test_lifecycle_is_one_request(backend: Any, wire: Wire) -> None:
    wire.on("GET", "/models/gpt-4o", {"id": "gpt-4o", "shutdown_date": "2026-12-31"})
    dates = backend.lifecycle("gpt-4o")
    assert (dates.inference_until, dates.training_until) == ("2026-12-31", "2026-12-31")
    assert len(wire.requests) == 1


def test_one_completion_is_one_request(backend: Any, wire: Wire) -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    answer = {"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    wire.on("POST", "/chat/completions", {"model": "m-1", "choices": [answer], "usage": usage})
    asked = ChatRequest(
        model="m",
        messages=({"role": "user", "content": "?"},),
        response_format={"type": "json_object"},
        sampling={"temperature": 0, "a_name_of_another_server": 1},
    )
    reply = backend.complete(asked, timeout=5)
    assert (reply.text, reply.finish_reason, reply.model) == ("yes", "stop", "m-1")
    assert (reply.usage.input, reply.usage.output, reply.usage.cached) == (9, 2, 4)
    assert wire.body()["a_name_of_another_server"] == 1
    wire.on("POST", "/chat/completions", error(500, "x"))
    with pytest.raises(OutcomeUnknown):
        backend.complete(asked, timeout=5)
    wire.on("POST", "/chat/completions", {"choices": []})
    with pytest.raises(OutcomeUnknown, match="no answer"):
        backend.complete(asked, timeout=5)
    assert len(wire.requests) == 3


def test_doctor_says_which_step_fails(backend: Any, wire: Wire) -> None:
    wire.on("GET", "/models", httpx2.ConnectError("x"))
    assert [(check.name, check.ok) for check in backend.doctor()] == [("endpoint", False)]
    wire.on("GET", "/models", error(401, f"bad key {KEY}"))
    checks = list(backend.doctor())
    assert [(check.name, check.ok) for check in checks] == [("endpoint", True), ("key", False)]
    assert KEY not in repr(checks)
    wire.on("GET", "/models", page({"id": "gpt-4o", "owned_by": "system"}, {"id": "gpt-6-luna"}))
    wire.on("GET", JOBS, error(403, "no right"))
    shown = {check.name: check for check in backend.doctor()}
    assert not shown["fine-tuning jobs"].ok
    assert shown["base models"].fields == {"shutdown_dates": {"gpt-4o": None}}
    assert "sandbox" not in shown["base models"].detail
    wire.on("GET", "/models", page({"id": "gpt-4o", "owned_by": "understudy-sandbox"}))
    assert "this is the sandbox" in list(backend.doctor())[-1].detail


# -- files -------------------------------------------------------------------------------------


def test_two_keys_never_share_a_file_name() -> None:
    keys = ["a-b", "a/b", "a b", "x" * 130, "x" * 131]
    names = {uploads.file_name(key, "train") for key in keys}
    assert len(names) == len(keys)
    assert all(re.fullmatch(r"understudy-[\w.-]{1,150}-train\.jsonl", name) for name in names)


def upload_of(name: str, size: int, **fields: Any) -> dict[str, Any]:
    base = {
        "object": "file",
        "id": "file-7",
        "bytes": size,
        "filename": name,
        "purpose": "fine-tune",
    }
    return base | {"created_at": 1_700_000_000, "status": "processed"} | fields


def test_upload_names_files_by_the_key(
    backend: Any, wire: Wire, spec: JobSpec, tmp_path: Path
) -> None:
    both = replace(spec, validation=rows_of(tmp_path / "v.jsonl", count=3))
    wire.on("GET", "/files", page())
    first = upload_of("a", 1, id="file-1")
    wire.on("POST", "/files", first, upload_of("b", 1, id="file-2"))
    handle = backend.upload(both, key="k1")
    assert handle.data == {"key": "k1", "training_file": "file-1", "validation_file": "file-2"}
    sent = [r.content for r in wire.requests if r.method == "POST"]
    assert b'filename="understudy-k1-train.jsonl"' in sent[0]
    assert b'filename="understudy-k1-validation.jsonl"' in sent[1]
    assert b"order 11" in sent[0]


@pytest.mark.parametrize(
    ("fields", "reused"),
    [({}, True), ({"bytes": 1}, False), ({"status": "error"}, False), ({"filename": "x"}, False)],
)
def test_a_complete_file_of_an_earlier_try_is_used_again(
    backend: Any, wire: Wire, spec: JobSpec, fields: dict[str, Any], reused: bool
) -> None:
    there = upload_of("understudy-k1-train.jsonl", spec.training.bytes) | fields
    wire.on("GET", "/files", page(there))
    wire.on("POST", "/files", upload_of("x", 1, id="file-8"))
    assert backend.upload(spec, key="k1").id == ("file-7" if reused else "file-8")
    assert wire.count("POST", "/files") == (0 if reused else 1)


def test_a_big_file_goes_in_parts(
    backend: Any, wire: Wire, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads.Uploader.__init__, "__kwdefaults__", {"part": 300, "single": 500})
    size = spec.training.bytes
    wire.on("GET", "/files", page())
    wire.on("POST", "/uploads", {"id": "upload_1", "object": "upload", "status": "pending"})
    count = -(-size // 300)
    wire.on("POST", "/uploads/upload_1/parts", *({"id": f"part_{n}"} for n in range(count)))
    whole = upload_of("understudy-k1-train.jsonl", size, id="file-big")
    wire.on("POST", "/uploads/upload_1/complete", {"id": "upload_1", "file": whole})
    assert backend.upload(spec, key="k1").id == "file-big"
    assert wire.count("POST", "/uploads/upload_1/parts") == count
    parts = [r.content for r in wire.requests if r.url.path.endswith("/parts")]
    rows = Path(spec.training.path).read_bytes()
    assert all(rows[n * 300 : (n + 1) * 300] in part for n, part in enumerate(parts))
    assert wire.body()["part_ids"] == [f"part_{n}" for n in range(count)]
    assert len(wire.body()["md5"]) == 32


@pytest.mark.parametrize("single", [10**9, 10**6], ids=["whole", "parts"])
def test_a_file_is_never_whole_in_memory(
    spec: JobSpec, monkeypatch: pytest.MonkeyPatch, single: int
) -> None:
    part, size = 2 * 1024**2, 48 * 1024**2
    monkeypatch.setattr(
        uploads.Uploader.__init__, "__kwdefaults__", {"part": part, "single": single}
    )
    with Path(spec.training.path).open("wb") as file:
        file.truncate(size)
    sent = 0

    def drain(request: httpx2.Request) -> httpx2.Response:
        nonlocal sent
        if request.method == "GET":
            return httpx2.Response(200, json=page())
        sent += sum(len(chunk) for chunk in cast("Iterable[bytes]", request.stream))
        file = {"id": "file-1", "object": "file"}
        return httpx2.Response(200, json=file | {"file": file})

    backend = make_backend(drain)
    assert backend.client.max_retries == 0
    tracemalloc.start()
    try:
        assert backend.upload(spec, key="k1").id == "file-1"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        backend.close()
    assert sent > size
    assert peak < 4 * part


def test_an_upload_that_fails_may_be_repeated(backend: Any, wire: Wire, spec: JobSpec) -> None:
    wire.on("GET", "/files", page())
    wire.on("POST", "/files", error(500, "x"))
    with pytest.raises(Unavailable):
        backend.upload(spec, key="k1")
    assert wire.count("POST", "/files") == 1
    gone = replace(spec, training=replace(spec.training, path="/nowhere/train.jsonl"))
    with pytest.raises(InvalidData, match="could not read /nowhere"):
        backend.upload(gone, key="k1")


@pytest.mark.parametrize("body", [{}, [], {"id": None}, {"object": "file"}])
def test_a_reply_without_an_id_is_trouble_and_no_crash(
    backend: Any, wire: Wire, spec: JobSpec, body: Any
) -> None:
    wire.on("GET", "/files", page())
    wire.on("POST", "/files", lambda _: httpx2.Response(200, json=body))
    wire.on("GET", "/files/file-1", lambda _: httpx2.Response(200, json=body))
    wire.on("GET", "/models/m", lambda _: httpx2.Response(200, json=body))
    with pytest.raises(Unavailable, match="no id"):
        backend.upload(spec, key="k1")
    with pytest.raises(Unavailable, match="no id"):
        backend.poll_upload(FILES)
    with pytest.raises(Unavailable, match="no id"):
        backend.lifecycle("m")


def test_poll_upload_looks_at_both_files(backend: Any, wire: Wire) -> None:
    both = Handle(
        kind="upload", id="file-1", data={"training_file": "file-1", "validation_file": "file-2"}
    )
    wire.on("GET", "/files/file-1", upload_of("a", 1))
    wire.on("GET", "/files/file-2", upload_of("b", 1, status="uploaded"))
    assert backend.poll_upload(both) == UploadReady()
    wire.on("GET", "/files/file-2", upload_of("b", 1, status="error", status_details="bad rows"))
    assert isinstance(backend.poll_upload(both), UploadFailed)
