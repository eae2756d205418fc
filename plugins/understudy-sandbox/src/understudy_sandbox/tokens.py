"""Token counts as the provider bills them: o200k_base, counted offline."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import orjson

_PER_MESSAGE = 3
_PER_EXAMPLE = 3
_MIN_SEEN, _MAX_SEEN, _MAX_EPOCHS, _USUAL_EPOCHS = 100, 25_000, 25, 3


@cache
def _counter() -> Any:
    with warnings.catch_warnings():
        # The package opens its own data through a deprecated call when it is imported.
        warnings.simplefilter("ignore", DeprecationWarning)
        from bpe_openai import _bindings
    return _bindings.tokenizer_for_encoding("o200k_base")


def count(text: str) -> int:
    """Tokens of a text in o200k_base."""
    found: int = _counter().count(text)
    return found


def _value_tokens(value: Any) -> int:
    if value is None:
        return 0
    return count(value if isinstance(value, str) else orjson.dumps(value).decode())


def message_tokens(message: Mapping[str, Any]) -> int:
    """Tokens of one message: 3, its values, and 1 more where it has a name."""
    counted = sum(_value_tokens(v) for k, v in message.items() if k != "weight")
    return _PER_MESSAGE + counted + (1 if "name" in message else 0)


def chat_tokens(messages: Sequence[Mapping[str, Any]], tools: Any = None) -> int:
    """Tokens of a chat: its messages, 3 for the example, and its tools."""
    return (
        sum(map(message_tokens, messages)) + _PER_EXAMPLE + (_value_tokens(tools) if tools else 0)
    )


def row_tokens(row: Mapping[str, Any]) -> int:
    """Billed tokens of one training row and one epoch."""
    if "preferred_output" in row:
        given = row["input"]
        both = [*row["preferred_output"], *row["non_preferred_output"]]
        return chat_tokens([*given["messages"], *both], given.get("tools"))
    return chat_tokens(row["messages"], row.get("tools") or row.get("functions"))


def default_epochs(rows: int) -> int:
    """Epochs that ``auto`` stands for with a number of rows (at least 1)."""
    if rows * _USUAL_EPOCHS < _MIN_SEEN:
        return min(_MAX_EPOCHS, _MIN_SEEN // rows)
    if rows * _USUAL_EPOCHS > _MAX_SEEN:
        return max(1, _MAX_SEEN // rows)
    return _USUAL_EPOCHS
