"""The fingerprint: golden vectors for each rule, and what must and must not change it."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import DataError
from understudy.fingerprint import LEFT_OUT, canonical, fingerprint, reusable
from understudy.model import ChatRequest

VECTORS = json.loads((Path(__file__).parent / "fingerprint_vectors.json").read_text("utf-8"))
BY_NAME = {vector["name"]: vector for vector in VECTORS}


def request_of(data: dict[str, Any]) -> ChatRequest:
    return ChatRequest(
        model=data["model"],
        messages=tuple(data["messages"]),
        tools=tuple(data.get("tools", ())),
        response_format=data.get("response_format"),
        sampling=data.get("sampling", {}),
        tenant=data.get("tenant"),
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_golden_vector(vector: dict[str, Any]) -> None:
    request = request_of(vector["request"])
    version = vector.get("model_version")
    assert canonical(request, model_version=version).decode() == vector["canonical"]
    assert fingerprint(request, model_version=version) == vector["fingerprint"]
    digest = hashlib.sha256(vector["canonical"].encode()).hexdigest()
    assert vector["fingerprint"] == f"u1:{digest}"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vector_says_what_it_equals(vector: dict[str, Any]) -> None:
    assert len(BY_NAME) == len(VECTORS)
    if same := vector.get("same_as"):
        assert vector["fingerprint"] == BY_NAME[same]["fingerprint"]
    if other := vector.get("differs_from"):
        assert vector["fingerprint"] != BY_NAME[other]["fingerprint"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_canonical_form_is_rfc_8785(vector: dict[str, Any]) -> None:
    assert rfc8785.dumps(json.loads(vector["canonical"])) == vector["canonical"].encode()


text = st.text(st.characters(codec="utf-8"), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-1e15, 1e15)  # past 2**53 json.loads reads back whole numbers
    | text
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(text, values, max_size=3)
messages = st.builds(
    lambda role, content, extra: {**extra, "role": role, "content": content},
    st.sampled_from(["system", "user", "assistant"]),
    text,
    objects,
)
requests = st.builds(
    ChatRequest,
    model=text,
    messages=st.lists(messages, min_size=1, max_size=3).map(tuple),
    tools=st.lists(objects, max_size=2).map(tuple),
    response_format=st.none() | objects,
    sampling=objects,
    tenant=st.none() | text,
)


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    if isinstance(value, list | tuple):
        return [reversed_keys(item) for item in value]
    return value


def as_dict(request: ChatRequest) -> dict[str, Any]:
    return {
        "model": request.model,
        "messages": list(request.messages),
        "tools": list(request.tools),
        "response_format": request.response_format,
        "sampling": request.sampling,
        "tenant": request.tenant,
    }


@settings(deadline=None)
@given(requests)
def test_field_order_never_matters(request: ChatRequest) -> None:
    turned = request_of(reversed_keys(as_dict(request)))
    assert fingerprint(turned) == fingerprint(request)


@settings(deadline=None)
@given(requests)
def test_fast_and_slow_encoders_agree(request: ChatRequest) -> None:
    form = canonical(request)
    assert rfc8785.dumps(json.loads(form)) == form


@settings(deadline=None)
@given(requests, st.data())
def test_any_change_of_meaning_matters(request: ChatRequest, data: st.DataObject) -> None:
    other = copy.deepcopy(as_dict(request))
    what = data.draw(st.sampled_from(["model", "message", "tools", "format", "sampling", "tenant"]))
    if what == "model":
        other["model"] += "x"
    elif what == "message":
        at = data.draw(st.integers(0, len(other["messages"]) - 1))
        other["messages"][at]["content"] += "x"
    elif what == "tools":
        other["tools"].append({"type": "function"})
    elif what == "format":
        other["response_format"] = {"type": "changed", "was": other["response_format"]}
    elif what == "sampling":
        other["sampling"]["top_logprobs"] = 5 if other["sampling"].get("top_logprobs") != 5 else 6
    else:
        other["tenant"] = f"{other['tenant']}x"
    assert fingerprint(request_of(other)) != fingerprint(request)


@settings(deadline=None)
@given(requests, st.sampled_from(sorted(LEFT_OUT)), values)
def test_left_out_parameters_never_matter(request: ChatRequest, name: str, value: Any) -> None:
    other = as_dict(request)
    other["sampling"] = {**other["sampling"], name: value}
    assert fingerprint(request_of(other)) == fingerprint(request)


@pytest.mark.parametrize("value", [2**53, -(2**53), float("nan"), float("inf"), "\ud800", b"x"])
def test_values_without_canonical_form_are_refused_by_field(value: Any) -> None:
    request = ChatRequest(model="m", messages=(), sampling={"seed": value})
    with pytest.raises(DataError, match="no canonical form") as caught:
        fingerprint(request)
    assert caught.value.field == "sampling"


def test_keys_must_be_text() -> None:
    tools: Any = ({1: 2.5},)
    with pytest.raises(DataError):
        fingerprint(ChatRequest(model="m", messages=(), tools=tools))


def test_error_does_not_show_the_prompt() -> None:
    message = {"role": "user", "content": "my secret \ud800"}
    with pytest.raises(DataError) as caught:
        fingerprint(ChatRequest(model="m", messages=(message,)))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({}, False),
        ({"temperature": 0}, True),
        ({"temperature": 0.0, "n": 1}, True),
        ({"temperature": 0, "n": None}, True),
        ({"temperature": 0, "n": 2}, False),
        ({"temperature": 0.1}, False),
        ({"temperature": None}, False),
        ({"seed": 7}, False),
        ({"top_p": 0}, False),
    ],
)
def test_sampled_requests_are_not_reused_unless_asked(
    sampling: dict[str, Any], *, expected: bool
) -> None:
    request = ChatRequest(model="m", messages=(), sampling=sampling)
    assert reusable(request) is expected
    assert reusable(request, reuse_sampled=True)
