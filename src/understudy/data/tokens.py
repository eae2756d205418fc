"""Token counts by o200k_base, offline.

The formula for a chat row is the one OpenAI's cookbook publishes for 4o and later: 3 tokens a
message, the tokens of every value in it, 1 more where it has a ``name``, and 3 for an example.
Tools and tool calls are counted as their compact JSON: a provider renders them in a way of its
own, so rows with tools are an estimate, rows without are exact.

The counter is the compiled table of ``bpe-openai``: linear in the length of any text, and equal
to tiktoken. The package's own ``__init__`` parses three vocabularies that are not needed here
(half a second), so the extension module is loaded beside it.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson

from understudy.errors import DataError

__all__ = [
    "ENCODING",
    "RANKS_SHA256",
    "count",
    "example_tokens",
    "message_tokens",
    "ranks",
    "request_tokens",
    "tools_tokens",
]

ENCODING = "o200k_base"
RANKS_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
"""Of the vocabulary file that OpenAI publishes for o200k_base."""

_PROBE = "Tokens: naïve 東京 привет 🙂 1234567  \n\n<|endoftext|>"
_PROBE_TOKENS = 19
_UNCOUNTED = frozenset({"weight"})
_SAME_IN_EVERY_ROW = frozenset({"system", "developer"})
_SHORT = 1 << 15
"""Longest text whose count is remembered, in characters: it bounds the memory."""

_FIX = "reinstall it: pip install --force-reinstall 'bpe-openai>=0.1.4'"


def count(text: str) -> int:
    """Tokens of ``text``; special tokens in it count as ordinary text."""
    try:
        return _counter()(text)
    except UnicodeEncodeError:
        return _counter()(text.encode("utf-8", "replace").decode())


def message_tokens(message: Mapping[str, Any]) -> int:
    """Tokens of one message, its 3 tokens of framing counted in."""
    counted = _repeated if message.get("role") in _SAME_IN_EVERY_ROW else _again
    total = 3
    for key, value in message.items():
        if type(value) is str:
            if key == "content":
                total += counted(value)
            else:
                total += _repeated(value) + (key == "name")
        elif value is not None and key not in _UNCOUNTED:
            total += _parts(value) if key == "content" else _as_json(value)
    return total


def example_tokens(
    messages: Iterable[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
) -> int:
    """Tokens that one epoch bills for a row whose answer is the last message."""
    total = 3 + sum(map(message_tokens, messages))
    return total + tools_tokens(tools)


def tools_tokens(tools: Sequence[Mapping[str, Any]]) -> int:
    """Tokens of the tool definitions of a row, as their JSON; none for none."""
    return _repeated(orjson.dumps(list(tools)).decode()) if tools else 0


def request_tokens(
    messages: Iterable[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
) -> int:
    """Input tokens of a request. The 3 that end it are the start of the reply."""
    return example_tokens(messages, tools)


def ranks() -> bytes:
    """The vocabulary file that ``bpe-openai`` bundles, in tiktoken's text format.

    Raises:
        DataError: it is not the published o200k_base.
    """
    raw = gzip.decompress((_package() / "data" / f"{ENCODING}.tiktoken.gz").read_bytes())
    if hashlib.sha256(raw).hexdigest() != RANKS_SHA256:
        raise DataError(f"bpe-openai bundles another vocabulary than {ENCODING}; {_FIX}")
    return raw


def _parts(content: Any) -> int:
    if isinstance(content, list | tuple) and all(
        isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in content
    ):
        return sum(count(part["text"]) for part in content)
    return _as_json(content)


def _as_json(value: Any) -> int:
    return count(orjson.dumps(value).decode())


def _repeated(text: str) -> int:
    return _remembered(text) if len(text) <= _SHORT else count(text)


def _again(text: str) -> int:
    return _recent(text) if len(text) <= _SHORT else count(text)


# System prompts and tools repeat in every row of a log; counting is most of the work.
_remembered = lru_cache(maxsize=256)(count)
# The turns of a row are counted by a filter and for the manifest, and come again in the next call
# of their conversation.
_recent = lru_cache(maxsize=128)(count)


@lru_cache(maxsize=1)
def _counter() -> Callable[[str], int]:
    counter: Callable[[str], int] = _bindings().tokenizer_for_encoding(ENCODING).count
    found = counter(_PROBE)
    if found != _PROBE_TOKENS:
        raise DataError(
            f"bpe-openai counts {found} tokens where {ENCODING} has {_PROBE_TOKENS}; {_FIX}"
        )
    return counter


def _package() -> Path:
    spec = importlib.util.find_spec("bpe_openai")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"bpe-openai, which counts tokens, is not installed; {_FIX}")
    return Path(next(iter(spec.submodule_search_locations)))


def _bindings() -> ModuleType:
    name = "bpe_openai._bindings"
    for suffix in EXTENSION_SUFFIXES:
        path = _package() / f"_bindings{suffix}"
        spec = importlib.util.spec_from_file_location(name, path) if path.is_file() else None
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return importlib.import_module(name)
