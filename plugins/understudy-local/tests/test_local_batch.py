"""Batches of local models: every row once, also through a kill and a torn line."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from export_kit import no_servers_left
from local_kit import make_backend, until
from understudy.errors import DataError, InvalidData, NotEligible, Unavailable
from understudy.model import BatchReply, BatchSpec, ChatReply, ChatRequest, RemoteState, Usage
from understudy_local import processes
from understudy_local.artifacts import read_json
from understudy_local.serving.batch_rows import reply_of_row
from understudy_local.serving.batch_work import OUTPUT, WISH, answer_all
from understudy_local.work import Work, begin, kept_settings

pytestmark = pytest.mark.timeout(120)
STUDENT = "smollm2-135m"
COUNT = 20


def asked(number: int) -> ChatRequest:
    message = {"role": "user", "content": f"Say {number}"}
    return ChatRequest(model=STUDENT, messages=(message,), sampling={"max_tokens": 3, "seed": 1})


def echo(request: ChatRequest) -> ChatReply:
    return ChatReply(
        message={"role": "assistant", "content": request.messages[0]["content"]},
        finish_reason="stop",
        usage=Usage(input=1, output=1),
        model=request.model,
    )


def batch_file(folder: Path, count: int = COUNT) -> BatchSpec:
    backend = make_backend(folder / "unused")
    rows = [backend.batch_row(asked(n), custom_id=f"row-{n}") for n in range(count)]
    data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    path = folder / "batch.jsonl"
    path.write_bytes(data)
    return BatchSpec(
        model=STUDENT,
        path=str(path),
        sha256=hashlib.sha256(data).hexdigest(),
        requests=count,
        bytes=len(data),
        tokens=count * 10,
    )


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """A batch whose process is the test itself."""
    spec = batch_file(tmp_path)
    made = Work(tmp_path / "home" / "batches" / "b-1")
    settings = kept_settings(make_backend(tmp_path / "home").settings)
    begin(
        made,
        {
            "key": "b-1",
            "model": STUDENT,
            "rows": spec.path,
            "requests": COUNT,
            "settings": settings,
        },
    )
    return made


def output(work: Work) -> dict[str, BatchReply]:
    lines = (work.path / OUTPUT).read_text().splitlines()
    found = [reply_of_row(json.loads(line)) for line in lines]
    assert len({one.custom_id for one in found}) == len(found), "a row came back twice"
    return {one.custom_id: one for one in found}


def test_every_row_is_answered_once(work: Work) -> None:
    answer_all(work, echo, parallel=4)
    found = output(work)
    assert set(found) == {f"row-{n}" for n in range(COUNT)}
    assert all(one.reply and one.reply.text == f"Say {name[4:]}" for name, one in found.items())
    assert work.outcome() == {"state": "succeeded", "completed": COUNT, "failed": 0}


def test_what_was_answered_before_a_crash_is_not_asked_again(work: Work) -> None:
    seen: list[str] = []

    def dies(request: ChatRequest) -> ChatReply:
        seen.append(request.messages[0]["content"])
        if len(seen) == 9:
            raise KeyboardInterrupt
        return echo(request)

    with pytest.raises(KeyboardInterrupt):
        answer_all(work, dies, parallel=1)
    kept = set(output(work))
    assert kept
    with (work.path / OUTPUT).open("ab") as file:
        file.write(b'{"custom_id": "row-19", "bo')  # torn in the middle of a line
    again: list[str] = []

    def goes_on(request: ChatRequest) -> ChatReply:
        again.append(request.messages[0]["content"])
        return echo(request)

    answer_all(work, goes_on, parallel=2)
    assert set(output(work)) == {f"row-{n}" for n in range(COUNT)}
    assert len(again) == COUNT - len(kept)


def test_trouble_of_a_row_stays_with_the_row(work: Work) -> None:
    def picky(request: ChatRequest) -> ChatReply:
        text = request.messages[0]["content"]
        if text == "Say 3":
            raise InvalidData("no", status=400)
        if text == "Say 4":
            raise Unavailable("later")
        return echo(request)

    answer_all(work, picky, parallel=4)
    found = output(work)
    assert (found["row-3"].outcome, found["row-4"].outcome) == ("invalid", "retry")
    assert work.outcome() == {"state": "succeeded", "completed": COUNT - 2, "failed": 2}


def test_cancelled_it_keeps_its_part(work: Work) -> None:
    def wishes(request: ChatRequest) -> ChatReply:
        (work.path / WISH).touch()
        return echo(request)

    answer_all(work, wishes, parallel=1)
    outcome = work.outcome()
    assert outcome is not None
    assert outcome["state"] == "cancelled"
    assert 0 < len(output(work)) < COUNT


def test_rows_that_are_no_requests_are_refused_one_by_one(work: Work) -> None:
    rows = Path(work.spec()["rows"])
    rows.write_text('{"custom_id": "a"}\n{"custom_id": "b", "body": {"model": "m"}}\n')
    answer_all(work, echo, parallel=1)
    assert {one.outcome for one in output(work).values()} == {"invalid"}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    pytest.importorskip("xllamacpp", reason="needs understudy-local[gguf]")
    with no_servers_left(tmp_path / "home"):
        yield tmp_path


def test_a_real_batch_is_answered_through_a_kill_of_its_process(place: Path) -> None:
    spec = batch_file(place)
    backend = make_backend(place / "home")
    handle = backend.start_batch(spec, backend.upload_batch(spec, key="b"), key="b")
    work = Work(place / "home" / "batches" / "b")
    until(lambda: work.progress().get("completed"), seconds=60)
    worker = processes.parse(read_json(work.path / "worker.json"))
    assert worker is not None
    processes.signal_group(worker, signal.SIGKILL)
    until(lambda: not processes.is_alive(worker))
    status = until(lambda: _ended(place, handle), seconds=90)
    assert status.state is RemoteState.SUCCEEDED
    assert (status.completed, status.failed) == (COUNT, 0)
    (path,) = backend.fetch_batch(handle, place / "back").paths
    lines = Path(path).read_text().splitlines()
    replies = [backend.batch_reply(json.loads(line)) for line in lines]
    assert {one.custom_id for one in replies} == {f"row-{n}" for n in range(COUNT)}
    assert all(one.reply and one.reply.usage.output == 3 for one in replies)


def _ended(place: Path, handle: object) -> object:
    status = make_backend(place / "home").poll_batch(handle)  # type: ignore[arg-type]
    return status if status.state.terminal else None


def test_a_model_without_a_file_takes_no_batch(tmp_path: Path) -> None:
    with pytest.raises(NotEligible):
        make_backend(tmp_path).batch_limits("qwen3-0.6b")


def test_a_file_that_changed_is_not_taken(tmp_path: Path) -> None:
    spec = batch_file(tmp_path)
    Path(spec.path).write_text("other")
    with pytest.raises(DataError, match="has changed"):
        make_backend(tmp_path / "home").upload_batch(spec, key="b")
