"""The quick way to keys, token counts and rows gives what the slow way gives."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.batch.inputs import Block
from understudy.batch.questions import Questions
from understudy.batch.recipe import Ask
from understudy.batch.rendering import Renderer
from understudy.data import request_tokens
from understudy.engine.batch_files import KEY, RowForm, head, write_upload
from understudy.fingerprint import fingerprint
from understudy.model import ChatRequest

_TEXT = st.text(max_size=40)
_TEMPLATES = st.lists(
    st.tuples(
        st.sampled_from(["system", "user", "assistant"]),
        st.sampled_from(["{{ a }}", "ask {{ a }} and {{ b }}", "fixed", "{{ b | upper }}"]),
    ),
    min_size=1,
    max_size=4,
).filter(lambda found: any("{{" in content for _, content in found))


def asks(templates: list[tuple[str, str]], **more: Any) -> Questions:
    messages = [{"role": role, "content": content} for role, content in templates]
    ask = Ask.model_validate({"model": "m", "messages": messages, **more})
    return Questions(ask=ask, model="ft:m:1", version="openai:ft:m:1")


def row_of(request: ChatRequest, key: str) -> dict[str, Any]:
    body = {"messages": list(request.messages), "model": request.model, **request.sampling}
    return {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}


def backwards(request: ChatRequest, key: str) -> dict[str, Any]:
    return {"messages": [*request.messages][::-1], "model": request.model, "id": key}


def rendered(questions: Questions, row: dict[str, Any]) -> bytes:
    renderer = Renderer(questions, file="f", max_tokens=10**9, max_bytes=10**9)
    out = renderer.block(Block(first=1, lines=orjson.dumps(row) + b"\n"))
    assert not out.rejected, out.rejected
    (line,) = b"".join(out.buckets.values()).splitlines()
    return line


@settings(deadline=None)
@given(_TEMPLATES, _TEXT, _TEXT, st.sampled_from([row_of, backwards]))
def test_the_quick_way_is_the_slow_way(
    templates: list[tuple[str, str]], a: str, b: str, write: Any
) -> None:
    questions = asks(templates, response_format={"type": "json_object"}, tenant="t")
    row = {"a": a, "b": b}
    request = questions.request(row)
    line = rendered(questions, row)
    key, tokens = head(line)
    assert f"u1:{key}" == fingerprint(request, model_version=questions.version)
    assert tokens == request_tokens(request.messages, request.tools)
    form = questions.row_form(write)
    assert form is not None
    (made,) = form.rows([line])
    assert made == orjson.dumps(write(request, key)) + b"\n"
    assert len(made) == len(line) + form.constant - (len("00000000"))


@settings(deadline=None)
@given(st.lists(_TEXT, min_size=1, max_size=20))
def test_an_upload_holds_every_row_and_says_so(tmp_path_factory: Any, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("upload")
    questions = asks([("user", "{{ a }}")])
    lines = sorted({rendered(questions, {"a": text}) for text in texts})
    (folder / "s.rows").write_bytes(b"".join(line + b"\n" for line in lines))
    form = questions.row_form(row_of)
    assert form is not None
    made = write_upload(folder / "s.rows", form, folder / "s.jsonl")
    rows = [orjson.loads(line) for line in (folder / "s.jsonl").read_bytes().splitlines()]
    assert [row["custom_id"] for row in rows] == [line[:KEY].decode() for line in lines]
    assert {row["body"]["messages"][0]["content"] for row in rows} == set(texts)
    assert made.requests == len(lines)
    assert made.bytes == (folder / "s.jsonl").stat().st_size
    assert made.tokens == sum(head(line)[1] for line in lines)


def test_a_form_survives_the_disk(tmp_path: Any) -> None:
    form = asks([("user", "{{ a }}")]).row_form(row_of)
    assert form is not None
    form.write(tmp_path / "form.json")
    assert RowForm.read(tmp_path / "form.json") == form


@pytest.mark.parametrize(
    "write",
    [
        lambda request, key: {"custom_id": key, "twice": key, "m": list(request.messages)},
        lambda request, key: {"custom_id": key, "m": request.messages[0]["content"].upper()},
    ],
)
def test_rows_that_change_the_texts_have_no_form(write: Any) -> None:
    assert asks([("user", "{{ a }}")]).row_form(write) is None


def test_the_application_builds_the_same_request() -> None:
    questions = asks([("system", "brief"), ("user", "{{ a }}")], max_output_tokens=9)
    request = questions.request({"a": "x"})
    assert request.messages == (
        {"role": "system", "content": "brief"},
        {"role": "user", "content": "x"},
    )
    assert request.sampling == {"temperature": 0, "max_tokens": 9}
