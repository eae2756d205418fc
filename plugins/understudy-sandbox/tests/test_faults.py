"""One test for each kind of fault, driven by the openai SDK without retries."""

from __future__ import annotations

import threading
import time

import openai
import pytest

from understudy_sandbox.launch import Sandbox, SandboxError

BASE = "gpt-4o-mini-2024-07-18"
CREATE = "fine_tuning.jobs.create"


@pytest.fixture
def create(client, small_file):
    return lambda **more: client.fine_tuning.jobs.create(
        model=BASE, training_file=small_file.id, **more
    )


def created_since(sandbox, before) -> list[dict]:
    known = {j["id"] for j in before["jobs"]}
    return [j for j in sandbox.state()["jobs"] if j["id"] not in known]


def test_error_comes_before_the_effect(sandbox, create) -> None:
    before = sandbox.state()
    sandbox.faults(
        {"on": CREATE, "do": "error", "status": 429, "code": "slow_down", "retry_after": 5}
    )
    with pytest.raises(openai.RateLimitError) as refused:
        create()
    assert refused.value.response.headers["retry-after"] == "5"
    assert refused.value.code == "slow_down"
    assert created_since(sandbox, before) == []


def test_error_after_comes_although_it_happened(sandbox, create) -> None:
    before = sandbox.state()
    sandbox.faults({"on": CREATE, "do": "error_after", "status": 500})
    with pytest.raises(openai.InternalServerError):
        create(metadata={"key": "ghost"})
    (made,) = created_since(sandbox, before)
    assert made["metadata"] == {"key": "ghost"}


def test_after_and_times_choose_the_requests(sandbox, client) -> None:
    sandbox.faults({"on": "models.*", "do": "error", "after": 1, "times": 2})
    outcomes = []
    for _ in range(4):
        try:
            client.models.list()
            outcomes.append("ok")
        except openai.InternalServerError:
            outcomes.append("error")
    (rule,) = sandbox.fault_counts()
    assert outcomes == ["ok", "error", "error", "ok"]
    assert (rule["seen"], rule["hits"]) == (4, 2)


def _held_create(sandbox, create, rule) -> tuple[threading.Thread, list]:
    sandbox.faults({"on": CREATE, "do": rule})
    got: list = []

    def run() -> None:
        got.append(create(metadata={"key": rule}))

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 20
    while not sandbox.held():
        assert time.monotonic() < deadline, "nothing was held"
    return thread, got


@pytest.mark.parametrize(("kind", "made_while_held"), [("hold_before", 0), ("hold_after", 1)])
def test_holds_wait_for_release(sandbox, create, kind, made_while_held) -> None:
    before = sandbox.state()
    thread, got = _held_create(sandbox, create, kind)
    (held,) = sandbox.held()
    assert len(created_since(sandbox, before)) == made_while_held
    assert (held["on"], held["phase"]) == (CREATE, kind.removeprefix("hold_"))
    assert sandbox.release(held["id"]) == 1
    thread.join(20)
    assert got[0].metadata == {"key": kind}
    assert sandbox.held() == []


def test_a_client_that_leaves_while_held_before_makes_nothing(sandbox, small_file) -> None:
    before = sandbox.state()
    sandbox.faults({"on": CREATE, "do": "hold_before"})
    with (
        openai.OpenAI(
            base_url=sandbox.url, api_key=sandbox.api_key, max_retries=0, timeout=0.3
        ) as hasty,
        pytest.raises(openai.APITimeoutError),
    ):
        hasty.fine_tuning.jobs.create(model=BASE, training_file=small_file.id)
    deadline = time.monotonic() + 20
    while sandbox.held():
        assert time.monotonic() < deadline, "the request stays held"
    assert created_since(sandbox, before) == []


@pytest.mark.parametrize(("kind", "made"), [("drop", 0), ("drop_after", 1), ("truncate", 1)])
def test_broken_connections(sandbox, create, kind, made) -> None:
    before = sandbox.state()
    sandbox.faults({"on": CREATE, "do": kind})
    with pytest.raises(openai.APIConnectionError):
        create()
    assert len(created_since(sandbox, before)) == made


def test_a_garbled_body_is_no_json(sandbox, create) -> None:
    before = sandbox.state()
    sandbox.faults({"on": CREATE, "do": "garbled_body"})
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        create()
    assert len(created_since(sandbox, before)) == 1


def test_list_lag_hides_a_new_job_from_lists_only(sandbox, client, create) -> None:
    sandbox.faults({"on": CREATE, "do": "list_lag", "seconds": 300})
    job = create(metadata={"key": "late"})

    def found() -> list[str]:
        return [j.id for j in client.fine_tuning.jobs.list(metadata={"key": "late"})]

    assert found() == []
    assert client.fine_tuning.jobs.retrieve(job.id).id == job.id
    sandbox.advance(301)
    assert found() == [job.id]


def test_an_unknown_status_is_shown_for_some_polls(sandbox, client, create) -> None:
    job = create()
    sandbox.faults(
        {"on": "fine_tuning.jobs.retrieve", "do": "status", "value": "fancy_new_status", "times": 2}
    )
    seen = [client.fine_tuning.jobs.retrieve(job.id).status for _ in range(3)]
    assert seen[:2] == ["fancy_new_status"] * 2
    assert seen[2] != "fancy_new_status"


def test_fail_job_ends_it_with_a_code(sandbox, create, finish) -> None:
    sandbox.faults({"on": CREATE, "do": "fail_job", "code": "unsafe_file", "message": "unsafe"})
    failed = finish(create())
    assert failed.status == "failed"
    assert (failed.error.code, failed.error.message) == ("unsafe_file", "unsafe")


def test_cancel_job_is_the_providers_own_doing(sandbox, create, finish) -> None:
    sandbox.faults({"on": CREATE, "do": "cancel_job", "at": 0.5})
    gone = finish(create())
    assert gone.status == "cancelled"
    assert gone.trained_tokens > 0


@pytest.mark.parametrize(
    ("kind", "status", "code", "type_"),
    [
        ("not_eligible", 403, "fine_tuning_not_available", "invalid_request_error"),
        ("quota", 429, "insufficient_quota", "insufficient_quota"),
        ("too_many_jobs", 429, "rate_limit_exceeded", "invalid_request_error"),
    ],
)
def test_refusals_of_organisations(sandbox, create, *, kind, status, code, type_) -> None:
    before = sandbox.state()
    sandbox.faults({"on": CREATE, "do": kind})
    with pytest.raises(openai.APIStatusError) as refused:
        create()
    assert refused.value.status_code == status
    assert (refused.value.code, refused.value.type) == (code, type_)
    assert created_since(sandbox, before) == []


def test_an_expired_key_is_refused_until_it_is_lifted(sandbox, client) -> None:
    sandbox.faults({"on": "models.list", "do": "expire_key"})
    for _ in range(2):
        with pytest.raises(openai.AuthenticationError):
            client.models.list()
    sandbox.key(expired=False)
    assert client.models.list().data


def test_echo_key_echoes_the_secret(sandbox, client) -> None:
    sandbox.faults({"on": "models.list", "do": "echo_key"})
    with pytest.raises(openai.AuthenticationError) as refused:
        client.models.list()
    assert f"Bearer {sandbox.api_key}" in refused.value.message
    kept = [p for p in sandbox.data.rglob("*") if p.is_file()]
    assert len(kept) >= 2
    assert [p.name for p in kept if sandbox.api_key.encode() in p.read_bytes()] == []


def test_a_retired_model_trains_and_answers_no_more(tmp_path) -> None:
    with (
        Sandbox(tmp_path) as sandbox,
        openai.OpenAI(base_url=sandbox.url, api_key=sandbox.api_key, max_retries=0) as client,
    ):
        ask = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]}
        assert client.chat.completions.create(**ask).choices
        sandbox.faults({"on": "chat.*", "do": "retire", "model": "gpt-4.1-2025-04-14"})
        with pytest.raises(openai.NotFoundError) as gone:
            client.chat.completions.create(**ask)
        assert gone.value.code == "model_not_found"
        body = b'{"messages": []}\n'
        file = client.files.create(file=("x", body), purpose="fine-tune")
        with pytest.raises(openai.BadRequestError):
            client.fine_tuning.jobs.create(model="gpt-4.1", training_file=file.id)
        shown = client.models.retrieve("gpt-4.1-2025-04-14").shutdown_date
        assert shown < sandbox.admin("clock")["iso"][:10]


def test_a_rule_that_is_none_is_refused(sandbox) -> None:
    with pytest.raises(SandboxError, match="400"):
        sandbox.faults({"on": CREATE, "do": "explode"})
    assert sandbox.fault_counts() == []


def test_every_kind_is_in_the_readme_and_has_a_test() -> None:
    from pathlib import Path
    from typing import get_args

    from understudy_sandbox.faults import Kind

    here = Path(__file__)
    readme = (here.parents[1] / "README.md").read_text(encoding="utf-8")
    names = ["test_faults.py", "test_batches.py", "test_azure_faults.py"]
    names += ["test_langfuse_observations.py"]
    tests = "".join(here.with_name(name).read_text(encoding="utf-8") for name in names)
    assert [k for k in get_args(Kind) if f"`{k}`" not in readme] == []
    assert [k for k in get_args(Kind) if f'"{k}"' not in tests] == []


def test_every_operation_named_in_the_readme_exists() -> None:
    import re
    from pathlib import Path

    from understudy_sandbox.routes import AZURE, LANGFUSE, OPENAI

    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")

    def named(begins: str, ends: str) -> set[str]:
        part = readme.partition(begins)[2].partition(ends)[0]
        found = set()
        for text in re.findall(r"`([^`]+)`", part):
            stem, _, rest = "".join(text.split()).partition("{")
            found |= {stem + end for end in rest.rstrip("}").split(",")}
        return found

    openai = named("stands for anything:", "A rule lets")
    assert openai == {op.name for op in OPENAI if not op.admin}
    own = named("on both data planes, and these of their own:", "All kinds above")
    assert own == {op.name for op in AZURE if not op.admin} - openai
    assert named("Langfuse's operations:", "All general kinds") == {op.name for op in LANGFUSE}
