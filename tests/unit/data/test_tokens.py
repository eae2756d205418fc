"""Token counts: equal to tiktoken, offline, by the published formula."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
from typing import Any

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data import count, example_tokens, message_tokens, request_tokens, tokens
from understudy.errors import DataError

PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How o200k_base cuts text before it merges, as OpenAI publishes it."""

HOSTILE = [
    "",
    " ",
    "\n\n\t  \r\n",
    "<|endoftext|><|endofprompt|>",
    "naïve café Ünïcödé",
    "東京は今日も雨です。",
    "привет, как дела?",
    "🙂👩‍👩‍👧‍👦🇨🇭",
    "a" * 3000,
    " " * 3000,
    "1234567890" * 50,
    "\u200b\u202e\ufeff",
    "don't I'LL we've",
    "e\u0301" * 20,
    '{"a": [1, 2, {"b": null}]}',
    "\U0010ffff\u0000\x7f",
]


@pytest.fixture(scope="module")
def reference() -> tiktoken.Encoding:
    """tiktoken built from the hash-checked ranks, so that it needs no network."""
    ranks = {}
    for line in tokens.ranks().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    special = {"<|endoftext|>": 199_999, "<|endofprompt|>": 200_018}
    return tiktoken.Encoding(
        "o200k_base", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special
    )


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_count_is_that_of_tiktoken(reference: tiktoken.Encoding, text: str) -> None:
    assert count(text) == len(reference.encode_ordinary(text))


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(codec="utf-8"), max_size=60))
def test_count_is_that_of_tiktoken_on_any_text(reference: tiktoken.Encoding, text: str) -> None:
    assert count(text) == len(reference.encode_ordinary(text))


def test_compiled_table_is_the_published_one(reference: tiktoken.Encoding) -> None:
    compiled = tokens._bindings().tokenizer_for_encoding("o200k_base")
    whole = 0
    for rank in range(0, 199_998, 7):
        token = reference.decode_single_token_bytes(rank)
        if b"\xef\xbf\xbd" not in token and token.decode("utf-8", "replace").encode() == token:
            assert compiled.decode([rank]).encode() == token
            whole += 1
    assert whole > 25_000


def test_another_vocabulary_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "RANKS_SHA256", "0" * 64)
    with pytest.raises(DataError, match="reinstall"):
        tokens.ranks()


def test_a_counter_that_counts_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_PROBE_TOKENS", 1)
    with pytest.raises(DataError, match="counts 19 tokens"):
        tokens._counter.__wrapped__()


def test_probe_agrees_with_tiktoken(reference: tiktoken.Encoding) -> None:
    assert len(reference.encode_ordinary(tokens._PROBE)) == tokens._PROBE_TOKENS


def test_counting_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    tokens._counter.cache_clear()
    assert count("hello world") == 2


def test_lone_surrogates_and_long_words_are_counted() -> None:
    assert count("\ud800") == count("?")
    assert count("ab" * 500_000) > 1000


def test_importing_it_loads_no_vocabulary() -> None:
    code = "import sys, understudy.data.tokens; print('bpe_openai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_formula_of_a_plain_row() -> None:
    row: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello world"},
        {"role": "assistant", "content": "hi", "weight": 1},
    ]
    by_hand = 3 + (3 + 1 + count("Be brief.")) + (3 + 1 + 2) + (3 + 1 + 1)
    assert example_tokens(row) == by_hand
    assert request_tokens(row[:-1]) == by_hand - 5


def test_formula_of_names_parts_and_tools() -> None:
    assert message_tokens({"role": "user", "name": "Ann", "content": "hi"}) == 3 + 1 + 1 + 1 + 1
    parts = [{"type": "text", "text": "hello world"}, {"type": "text", "text": "hi"}]
    assert message_tokens({"role": "user", "content": parts}) == 3 + 1 + 3
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    as_json = '[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]'
    told = {"role": "assistant", "content": None, "tool_calls": calls}
    assert message_tokens(told) == 3 + 1 + count(as_json)
    tools = [{"type": "function", "function": {"name": "f"}}]
    extra = count('[{"type":"function","function":{"name":"f"}}]')
    assert example_tokens([told], tools) == example_tokens([told]) + extra
