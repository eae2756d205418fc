"""What goes over the wire to llama.cpp's server, and what comes back; names of files."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import (
    AuthError,
    DataError,
    InvalidData,
    RateLimited,
    TransientError,
    Unavailable,
)
from understudy.model import ChatReply, ChatRequest, Usage
from understudy_local.artifacts import ModelName
from understudy_local.formats import FORMATS, FileName
from understudy_local.serving import batch_rows, wire

JOBS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True)
STUDENTS = st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True)
STEPS = st.none() | st.integers(0, 10**6)
SAMPLING = st.dictionaries(st.sampled_from(["seed", "top_p"]), st.integers())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": st.text()}),
    min_size=1,
    max_size=4,
)


@settings(deadline=None)
@given(
    student=STUDENTS,
    job=JOBS,
    step=st.none() | st.integers(0, 10**6),
    name=st.sampled_from(list(FORMATS)),
)
def test_names_of_files_survive_being_written(
    student: str, job: str, step: int | None, name: str
) -> None:
    model = str(ModelName(student=student, job=job, step=step))
    parsed = FileName.parse(str(FileName(model=model, format=name)))
    assert parsed == FileName(model=model, format=name)
    assert ModelName.parse(model) == ModelName(student=student, job=job, step=step)


@settings(deadline=None)
@given(st.text())
def test_other_names_are_no_files(text: str) -> None:
    found = FileName.parse(text)
    assert found is None or str(found) == text


@settings(deadline=None)
@given(
    messages=MESSAGES, sampling=st.dictionaries(st.sampled_from(["seed", "top_p"]), st.integers())
)
def test_a_batch_row_asks_what_was_asked(messages: Any, sampling: Any) -> None:
    request = ChatRequest(model="m", messages=tuple(messages), sampling=sampling)
    row = batch_rows.asked(request, custom_id="x")
    assert batch_rows.request_of(row) == request


@settings(deadline=None)
@given(content=st.text(), tokens=st.integers(0, 10**6))
def test_a_batch_answer_comes_back_as_it_was(content: str, tokens: int) -> None:
    reply = ChatReply(
        message={"role": "assistant", "content": content},
        finish_reason="stop",
        usage=Usage(input=tokens, output=tokens),
        model="m",
    )
    back = batch_rows.reply_of_row(batch_rows.answered("x", reply))
    assert (back.custom_id, back.outcome, back.reply) == ("x", "answered", reply)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(InvalidData("no", code="bad_row"), "invalid"), (Unavailable("later", status=503), "retry")],
)
def test_a_refused_row_says_whether_to_ask_again(error: Any, outcome: str) -> None:
    back = batch_rows.reply_of_row(batch_rows.refused("x", error))
    assert back.outcome == outcome
    assert back.problem is not None
    assert back.problem.code in {"bad_row", "503"}


@settings(deadline=None)
@given(JSON)
def test_no_row_breaks_the_reader(value: Any) -> None:
    if not (isinstance(value, dict) and isinstance(value.get("custom_id"), str)):
        with pytest.raises(DataError):
            batch_rows.reply_of_row(value)


@settings(deadline=None)
@given(JSON)
def test_no_answer_breaks_the_reader(value: Any) -> None:
    body = value if isinstance(value, dict) else {"choices": value, "usage": value}
    with pytest.raises(Unavailable):
        wire.reply_of(body, model="m")


def test_both_names_of_the_limit_reach_the_server() -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        request = ChatRequest(model="m", messages=(), sampling={name: 7, "temperature": 0})
        assert wire.body_of(request) == {
            "model": "m",
            "messages": [],
            "max_tokens": 7,
            "temperature": 0,
        }


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"type": "exceed_context_size_error", "n_prompt_tokens": 9}}, InvalidData),
        (400, {"error": "quoted text"}, InvalidData),
        (401, {}, AuthError),
        (429, {}, RateLimited),
        (500, {"error": {"type": "server_error"}}, Unavailable),
        (503, {"error": {"type": "unavailable_error"}}, TransientError),
    ],
)
def test_each_status_is_its_own_error(status: int, body: Any, kind: type[Exception]) -> None:
    found = wire.error_of(status, body, model="m")
    assert isinstance(found, kind)
    assert "quoted" not in str(found)
    assert found.status == status
