"""The backend against a wire that is a function: what it sends, and what it makes of replies."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from openai_kit import KEY, Wire, error, job, rows_of
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
from understudy.model import (
    Absent,
    ChatRequest,
    Found,
    Handle,
    JobSpec,
    RemoteState,
    UploadFailed,
    UploadReady,
)
from understudy_openai import uploads

JOBS = "/fine_tuning/jobs"
FILES = Handle(kind="upload", id="file-1", data={"training_file": "file-1"})
JOB = Handle(kind="job", id="ftjob-1", data={"created_at": 1_700_000_001})


def page(*found: Any, more: bool | None = False) -> dict[str, Any]:
    body = {"object": "list", "data": [*found], "has_more": more}
    return {name: value for name, value in body.items() if value is not None}


def paged(found: list[dict[str, Any]]) -> Callable[[httpx2.Request], dict[str, Any]]:
    """A list that honours ``after`` and ``limit``."""

    def answer(request: httpx2.Request) -> dict[str, Any]:
        after, limit = request.url.params.get("after"), int(request.url.params["limit"])
        ids = [one["id"] for one in found]
        start = ids.index(after) + 1 if after else 0
        return page(*found[start : start + limit], more=start + limit < len(found))

    return answer


# -- create ------------------------------------------------------------------------------------


def test_create_sends_one_post_with_the_key_in_metadata(
    backend: Any, wire: Wire, spec: JobSpec
) -> None:
    wire.on("POST", JOBS, job(1))
    handle = backend.create(spec, FILES, key="k1")
    assert handle == Handle(
        kind="job",
        id="ftjob-1",
        data={
            "training_file": "file-1",
            "created_at": 1_700_000_001.0,
            "base_model": "gpt-4o-mini-2024-07-18",
            "key": "k1",
        },
    )
    assert len(wire.requests) == 1
    assert wire.body()["metadata"] == {"team": "search", "understudy_key": "k1"}


@pytest.mark.parametrize(
    "reply",
    [
        error(500, "oops"),
        error(503, "overloaded", headers={"retry-after": "1"}),
        error(408, "slow"),
        error(409, "conflict"),
        httpx2.Response(200, content=b'{"id": "ftj'),
        httpx2.Response(200, content=b"\xff\xfe"),
        httpx2.Response(200, json=["ftjob-1"]),
        httpx2.Response(200, json={"object": "fine_tuning.job"}),
        httpx2.Response(200, content=b"<html>"),
        httpx2.ReadTimeout("x"),
        httpx2.WriteError("x"),
        httpx2.RemoteProtocolError("peer closed connection without sending complete body"),
    ],
)
def test_a_doubtful_create_is_sent_once_and_its_outcome_is_unknown(
    backend: Any, wire: Wire, spec: JobSpec, reply: Any
) -> None:
    wire.on("POST", JOBS, reply)
    with pytest.raises(OutcomeUnknown):
        backend.create(spec, FILES, key="k1")
    assert len(wire.requests) == 1


@pytest.mark.parametrize("cause", [httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout])
def test_a_create_that_never_left_is_unavailable(
    backend: Any, wire: Wire, spec: JobSpec, cause: type[Exception]
) -> None:
    wire.on("POST", JOBS, cause("refused"))
    with pytest.raises(Unavailable, match="nothing was sent"):
        backend.create(spec, FILES, key="k1")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (error(400, "bad", code="invalid_training_file"), InvalidData),
        (error(401, f"Incorrect API key provided: {KEY}", code="invalid_api_key"), AuthError),
        (error(403, "This organization is not eligible to fine-tune."), NotEligible),
        (error(404, "no model", code="model_not_found"), NotFound),
        (error(404, "The model has been deprecated", code="model_not_found"), Retired),
        (error(422, "bad"), InvalidData),
        (error(429, "full", code="insufficient_quota"), QuotaError),
        (error(429, "slow down", headers={"retry-after": "600"}), RateLimited),
    ],
)
def test_a_clear_refusal_is_not_in_doubt(
    backend: Any, wire: Wire, spec: JobSpec, reply: Any, expected: type[BackendError]
) -> None:
    wire.on("POST", JOBS, reply)
    with pytest.raises(expected) as caught:
        backend.create(spec, FILES, key="k1")
    assert type(caught.value) is expected
    assert KEY not in str(caught.value)
    assert len(wire.requests) == 1
    if isinstance(caught.value, RateLimited):
        assert caught.value.retry_after == 600


def test_a_redirect_is_not_followed(backend: Any, wire: Wire, spec: JobSpec) -> None:
    wire.on("POST", JOBS, httpx2.Response(307, headers={"location": "https://elsewhere/v1"}))
    with pytest.raises(NotFound, match="base_url"):
        backend.create(spec, FILES, key="k1")
    assert len(wire.requests) == 1


# -- find --------------------------------------------------------------------------------------


def test_find_by_metadata_asks_once(backend: Any, wire: Wire) -> None:
    wire.on("GET", JOBS, page(job(5, metadata={"understudy_key": "k"})))
    found = backend.find("k", FILES)
    assert isinstance(found, Found)
    assert found.handle.id == "ftjob-5"
    assert wire.requests[0].url.params["metadata[understudy_key]"] == "k"
    assert len(wire.requests) == 1


def test_find_gives_the_oldest_job_and_the_surplus_newest_last(backend: Any, wire: Wire) -> None:
    mine = {"metadata": {"understudy_key": "k"}}
    wire.on("GET", JOBS, page(job(9, **mine), job(7, **mine), job(8, **mine)))
    found = backend.find("k", FILES)
    assert [found.handle.id, *(one.id for one in found.surplus)] == [
        "ftjob-7",
        "ftjob-8",
        "ftjob-9",
    ]


def test_find_checks_each_row_where_the_server_ignores_the_filter(backend: Any, wire: Wire) -> None:
    others = [job(n, metadata={"understudy_key": f"k{n}"}) for n in range(250, 0, -1)]
    wire.on("GET", JOBS, paged(others))
    found = backend.find("k3", FILES)
    assert isinstance(found, Found)
    assert (found.handle.id, found.surplus) == ("ftjob-3", ())
    assert backend.find("elsewhere", Handle(kind="upload", id="file-x")) == Absent()


def test_find_reads_the_whole_list_for_the_training_file(backend: Any, wire: Wire) -> None:
    plain = [job(n) for n in range(250, 0, -1)]

    def answer(request: httpx2.Request) -> dict[str, Any]:
        filtered = any(name.startswith("metadata") for name in request.url.params)
        return page() if filtered else paged(plain)(request)

    wire.on("GET", JOBS, answer)
    found = backend.find("k", FILES)
    assert isinstance(found, Found)
    assert found.handle.id == "ftjob-1"
    assert found.handle.data["key"] == "k"
    assert len(wire.requests) == 4
    assert backend.find("k", Handle(kind="upload", id="file-none")) == Absent()
    assert backend.find("k", None) == Absent()


def test_a_list_that_repeats_itself_is_not_believed(backend: Any, wire: Wire) -> None:
    wire.on("GET", JOBS, page(job(1), more=True))
    with pytest.raises(Unavailable, match="repeats itself"):
        backend.find("k", None)


def test_a_list_that_does_not_say_whether_it_goes_on_is_read_on(backend: Any, wire: Wire) -> None:
    wire.on("GET", JOBS, page(job(2), more=None), page(job(1), more=None), page(more=None))
    found = backend.find("k", FILES)
    assert isinstance(found, Found)
    assert found.handle.id == "ftjob-1"


# -- polling -----------------------------------------------------------------------------------


def test_poll_looks_once(backend: Any, wire: Wire) -> None:
    wire.on("GET", f"{JOBS}/ftjob-1", job(1, status="fancy_new_status"))
    status = backend.poll(JOB)
    assert (status.state, status.raw) == (RemoteState.UNKNOWN, "fancy_new_status")
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "reply", [httpx2.Response(200, content=b'{"id": "ftj'), error(500, "x"), httpx2.ReadError("x")]
)
def test_trouble_while_polling_is_never_failed(backend: Any, wire: Wire, reply: Any) -> None:
    wire.on("GET", f"{JOBS}/ftjob-1", reply)
    with pytest.raises(Unavailable):
        backend.poll(JOB)


def handles(*numbers: int) -> list[Handle]:
    return [
        Handle(kind="job", id=f"ftjob-{n}", data={"created_at": 1_700_000_000 + n}) for n in numbers
    ]


def test_poll_many_takes_few_requests(backend: Any, wire: Wire) -> None:
    wire.on("GET", JOBS, paged([job(n, status="running") for n in range(1000, 0, -1)]))
    found = backend.poll_many(handles(*range(801, 1001)))
    assert len(found) == 200
    assert {status.state for status in found.values()} == {RemoteState.RUNNING}
    assert len(wire.requests) == 2


def test_poll_many_stops_at_jobs_older_than_the_oldest_wanted(backend: Any, wire: Wire) -> None:
    wire.on("GET", JOBS, paged([job(n) for n in range(1000, 0, -1) if n != 950]))
    assert set(backend.poll_many(handles(950, 960, 970))) == {"ftjob-960", "ftjob-970"}
    assert len(wire.requests) == 1


def test_poll_many_costs_no_more_than_polling_each(backend: Any, wire: Wire) -> None:
    wire.on("GET", JOBS, paged([job(n) for n in range(1000, 0, -1)]))
    assert backend.poll_many(handles(1, 2)) == {}
    assert len(wire.requests) == 2
    assert backend.poll_many([]) == {}
    assert len(wire.requests) == 2


def test_jobs_lists_all_newest_first(backend: Any, wire: Wire) -> None:
    wire.on("GET", JOBS, paged([job(n) for n in range(150, 0, -1)]))
    listed = [handle.id for handle, _ in backend.jobs()]
    assert (len(listed), listed[0], listed[-1]) == (150, "ftjob-150", "ftjob-1")


# -- cancel, pause, resume ---------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume"])
def test_asking_for_it_once(backend: Any, wire: Wire, verb: str) -> None:
    wire.on("POST", f"{JOBS}/ftjob-1/{verb}", job(1))
    getattr(backend, verb)(JOB)
    assert [str(r.url.path) for r in wire.requests] == [f"/v1{JOBS}/ftjob-1/{verb}"]


@pytest.mark.parametrize("status", [400, 409])
@pytest.mark.parametrize(
    ("verb", "state"),
    [
        ("cancel", "succeeded"),
        ("cancel", "cancelled"),
        ("cancel", "failed"),
        ("pause", "paused"),
        ("pause", "pausing"),
        ("pause", "succeeded"),
        ("resume", "running"),
        ("resume", "failed"),
    ],
)
def test_already_so_is_no_error(
    backend: Any, wire: Wire, verb: str, state: str, status: int
) -> None:
    wire.on("POST", f"{JOBS}/ftjob-1/{verb}", error(status, f'already has status "{state}"'))
    wire.on("GET", f"{JOBS}/ftjob-1", job(1, status=state))
    getattr(backend, verb)(JOB)
    assert len(wire.requests) == 2


def test_a_refused_cancel_of_a_running_job_is_an_error(backend: Any, wire: Wire) -> None:
    wire.on("POST", f"{JOBS}/ftjob-1/cancel", error(400, "not now"))
    wire.on("GET", f"{JOBS}/ftjob-1", job(1, status="running"))
    with pytest.raises(InvalidData, match="not now"):
        backend.cancel(JOB)
    with pytest.raises(NotFound):
        backend.cancel(Handle(kind="job", id="ftjob-none"))


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
    with pytest.raises(Unavailable):
        backend.complete(asked, timeout=5)
    wire.on("POST", "/chat/completions", {"choices": []})
    with pytest.raises(Unavailable, match="no answer"):
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


def test_an_upload_that_fails_may_be_repeated(backend: Any, wire: Wire, spec: JobSpec) -> None:
    wire.on("GET", "/files", page())
    wire.on("POST", "/files", error(500, "x"))
    with pytest.raises(Unavailable):
        backend.upload(spec, key="k1")
    assert wire.count("POST", "/files") == 1
    gone = replace(spec, training=replace(spec.training, path="/nowhere/train.jsonl"))
    with pytest.raises(InvalidData, match="could not read /nowhere"):
        backend.upload(gone, key="k1")


def test_poll_upload_looks_at_both_files(backend: Any, wire: Wire) -> None:
    both = Handle(
        kind="upload", id="file-1", data={"training_file": "file-1", "validation_file": "file-2"}
    )
    wire.on("GET", "/files/file-1", upload_of("a", 1))
    wire.on("GET", "/files/file-2", upload_of("b", 1, status="uploaded"))
    assert backend.poll_upload(both) == UploadReady()
    wire.on("GET", "/files/file-2", upload_of("b", 1, status="error", status_details="bad rows"))
    assert isinstance(backend.poll_upload(both), UploadFailed)


# -- the client --------------------------------------------------------------------------------


def test_many_threads_share_one_client(backend: Any, wire: Wire) -> None:
    wire.on("GET", f"{JOBS}/ftjob-1", job(1))
    with ThreadPoolExecutor(8) as pool:
        states = {pool.submit(backend.poll, JOB).result().state for _ in range(32)}
        clients = {pool.submit(lambda: id(backend.client)).result() for _ in range(8)}
    assert states == {RemoteState.QUEUED}
    assert len(clients) == 1
    assert backend.client.max_retries == 0


def test_the_sdk_never_sends_twice(backend: Any, wire: Wire) -> None:
    for status in (408, 409, 429, 500):
        wire.on("GET", f"{JOBS}/ftjob-1", error(status, "x", headers={"retry-after": "0"}))
        before = len(wire.requests)
        with pytest.raises(BackendError):
            backend.poll(JOB)
        assert len(wire.requests) == before + 1


def test_a_closed_backend_opens_again_when_asked(backend: Any, wire: Wire) -> None:
    wire.on("GET", f"{JOBS}/ftjob-1", job(1))
    backend.poll(JOB)
    backend.close()
    backend.close()
    assert backend.poll(JOB).state is RemoteState.QUEUED
