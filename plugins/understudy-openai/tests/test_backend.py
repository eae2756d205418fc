"""The backend against a wire that is a function: what it sends, and what it makes of replies."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from openai_kit import FILES, JOB, JOBS, KEY, Wire, error, job, page, paged
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
    Found,
    Handle,
    JobSpec,
    RemoteState,
)

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
