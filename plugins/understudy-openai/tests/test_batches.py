"""Batches against the sandbox: the real wire, real faults, on loopback."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from openai_kit import Clock
from understudy.errors import OutcomeUnknown, RateLimited
from understudy.model import Absent, BatchSpec, Found, Handle, RemoteState
from understudy_openai import OpenAIBackend, OpenAISettings

pytest.importorskip("understudy_sandbox", reason="needs the sandbox plugin")

from openai_batch_kit import MODEL, batch_spec, ended, replies, started, uploaded
from openai_sandbox_kit import SECRET, ThreadSandbox

CREATE = "batches.create"
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def shared() -> Iterator[ThreadSandbox]:
    with ThreadSandbox(clock_speed=0.0) as running:
        yield running


@pytest.fixture
def sandbox(shared: ThreadSandbox) -> Iterator[ThreadSandbox]:
    yield shared
    shared.faults()


@pytest.fixture
def backend(sandbox: ThreadSandbox) -> Iterator[OpenAIBackend]:
    settings = OpenAISettings(api_key=SecretStr(SECRET), base_url=sandbox.url)
    made = OpenAIBackend(name="openai", settings=settings, clock=Clock())
    yield made
    made.close()


@pytest.fixture
def key() -> str:
    return f"us-batch-{next(NUMBERS)}"


@pytest.fixture
def spec(backend: OpenAIBackend, tmp_path: Path) -> BatchSpec:
    return batch_spec(backend, tmp_path, [f"where is order {number}" for number in range(30)])


def creates(sandbox: ThreadSandbox) -> int:
    return int(sandbox.state()["requests"].get(CREATE, 0))


def test_the_whole_way_from_rows_to_replies(
    sandbox: ThreadSandbox, backend: OpenAIBackend, spec: BatchSpec, key: str, tmp_path: Path
) -> None:
    batch = started(backend, spec, key=key)
    assert batch.kind == "batch"
    assert backend.poll_batch(batch).state is RemoteState.QUEUED
    look = ended(backend, sandbox, batch)
    assert (look.raw, look.total, look.completed, look.failed) == ("completed", 30, 30, 0)
    found = replies(backend, batch, tmp_path / "out")
    assert set(found) == {f"r{number}" for number in range(30)}
    assert {one.outcome for one in found.values()} == {"answered"}
    usages = [one.reply.usage for one in found.values() if one.reply]
    assert look.usage is not None
    assert sum(usage.input for usage in usages) == look.usage.input > 0
    assert sum(usage.output for usage in usages) == look.usage.output > 0


def test_a_file_is_sent_once_for_a_key(
    sandbox: ThreadSandbox, backend: OpenAIBackend, spec: BatchSpec, key: str
) -> None:
    first = uploaded(backend, spec, key=key)
    count = sandbox.state()["files"]
    assert uploaded(backend, spec, key=key) == first
    assert sandbox.state()["files"] == count
    assert uploaded(backend, spec, key=f"{key}-other").id != first.id


@pytest.mark.parametrize("fault", ["error_after", "drop_after", "truncate", "garbled_body"])
def test_a_lost_reply_is_found_and_nothing_is_sent_again(
    sandbox: ThreadSandbox, backend: OpenAIBackend, spec: BatchSpec, key: str, fault: str
) -> None:
    files, before = uploaded(backend, spec, key=key), creates(sandbox)
    sandbox.faults({"on": CREATE, "do": fault})
    with pytest.raises(OutcomeUnknown):
        backend.start_batch(spec, files, key=key)
    assert creates(sandbox) == before + 1
    found = backend.find_batch(key, files)
    assert isinstance(found, Found)
    assert found.surplus == ()
    assert ended(backend, sandbox, found.handle).completed == 30
    assert isinstance(backend.find_batch(f"{key}-other", None), Absent)


def test_two_batches_of_one_key_are_both_shown(
    backend: OpenAIBackend, spec: BatchSpec, key: str
) -> None:
    files = uploaded(backend, spec, key=key)
    made = [backend.start_batch(spec, files, key=key).id for _ in range(2)]
    found = backend.find_batch(key, files)
    assert isinstance(found, Found)
    assert sorted([found.handle.id, *(one.id for one in found.surplus)]) == sorted(made)


@pytest.mark.parametrize(
    "rule",
    [
        {"status": 429, "retry_after": 7},
        {"status": 429, "code": "token_limit_exceeded", "retry_after": 7},
        {"status": 400, "code": "token_limit_exceeded"},
    ],
)
def test_a_refused_create_started_nothing_and_may_be_sent_later(
    sandbox: ThreadSandbox,
    backend: OpenAIBackend,
    spec: BatchSpec,
    key: str,
    rule: dict[str, object],
) -> None:
    files, before = uploaded(backend, spec, key=key), creates(sandbox)
    sandbox.faults({"on": CREATE, "do": "error", **rule})
    with pytest.raises(RateLimited) as caught:
        backend.start_batch(spec, files, key=key)
    assert caught.value.retry_after == rule.get("retry_after")
    assert creates(sandbox) == before + 1
    assert isinstance(backend.find_batch(key, files), Absent)


def test_an_expired_batch_gives_its_part(
    sandbox: ThreadSandbox, backend: OpenAIBackend, spec: BatchSpec, key: str, tmp_path: Path
) -> None:
    sandbox.faults({"on": CREATE, "do": "expire_batch", "fraction": 0.5})
    batch = started(backend, spec, key=key)
    look = ended(backend, sandbox, batch)
    assert (look.state, look.raw) == (RemoteState.SUCCEEDED, "expired")
    found = Counter(one.outcome for one in replies(backend, batch, tmp_path / "out").values())
    assert found["answered"] == 15
    # Of those that were not begun, half are in neither file.
    assert found["retry"] == 7


def test_a_cancelled_batch_gives_its_part_and_may_be_cancelled_again(
    sandbox: ThreadSandbox, backend: OpenAIBackend, spec: BatchSpec, key: str, tmp_path: Path
) -> None:
    batch = started(backend, spec, key=key)
    while backend.poll_batch(batch).raw != "in_progress":
        sandbox.advance(0.5)
    sandbox.advance(2)
    backend.cancel_batch(batch)
    assert backend.poll_batch(batch).state is RemoteState.CANCELLING
    backend.cancel_batch(batch)
    look = ended(backend, sandbox, batch)
    backend.cancel_batch(batch)
    assert look.state is RemoteState.CANCELLED
    found = replies(backend, batch, tmp_path / "out")
    assert 0 < len(found) < 30
    assert len(found) == look.completed


def test_a_completed_batch_without_an_output_file_gives_nothing(
    sandbox: ThreadSandbox, backend: OpenAIBackend, spec: BatchSpec, key: str, tmp_path: Path
) -> None:
    sandbox.faults({"on": CREATE, "do": "no_output_file"})
    batch = started(backend, spec, key=key)
    assert ended(backend, sandbox, batch).raw == "completed"
    assert backend.fetch_batch(batch, tmp_path / "out").paths == ()


def test_a_batch_over_the_limit_fails_after_its_create(
    sandbox: ThreadSandbox, backend: OpenAIBackend, key: str, tmp_path: Path
) -> None:
    rows = {"model": "ft:no-such-model"}
    batch = started(backend, batch_spec(backend, tmp_path, ["hi"], **rows), key=key)
    look = ended(backend, sandbox, batch)
    assert (look.state, look.over_quota) == (RemoteState.FAILED, False)
    assert look.problem is not None
    assert look.problem.code == "model_not_found"


def test_handles_are_found_by_a_new_process(
    sandbox: ThreadSandbox, backend: OpenAIBackend, spec: BatchSpec, key: str
) -> None:
    batch = started(backend, spec, key=key)
    settings = OpenAISettings(api_key=SecretStr(SECRET), base_url=sandbox.url)
    other = OpenAIBackend(name="openai", settings=settings, clock=Clock())
    again = Handle(kind="batch", id=batch.id, data=dict(batch.data))
    assert ended(other, sandbox, again).completed == 30
    other.close()


def test_limits_are_the_published_ones_with_what_the_settings_tell() -> None:
    told = {"batch_enqueued_tokens": {"gpt-4.1": 9_000, "*": 5_000}}
    settings = OpenAISettings(base_url="http://127.0.0.1:1/v1", **told)
    backend = OpenAIBackend(name="openai", settings=settings, clock=Clock())
    limits = backend.batch_limits("ft:gpt-4.1:acme::x1")
    assert (limits.requests, limits.bytes, limits.enqueued_tokens) == (50_000, 200_000_000, 9_000)
    assert (limits.models, limits.window, limits.batches_per_hour) == (1, 86_400, 2_000)
    assert backend.batch_limits(MODEL).enqueued_tokens == 5_000


def test_a_usage_tier_tells_the_enqueued_tokens_of_the_models_it_is_published_for() -> None:
    settings = OpenAISettings(base_url="http://127.0.0.1:1/v1", usage_tier=2)
    backend = OpenAIBackend(name="openai", settings=settings, clock=Clock())
    assert backend.batch_limits(MODEL).enqueued_tokens == 20_000_000
    assert backend.batch_limits(f"ft:{MODEL}:acme::x").enqueued_tokens == 20_000_000
    assert backend.batch_limits("gpt-4.1").enqueued_tokens is None
