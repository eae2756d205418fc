"""What input and output look like before anything is known of them: JSON, maybe in strings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeGuard

import orjson

__all__ = [
    "Object",
    "ShapeError",
    "decoded",
    "dumped",
    "encodable",
    "first",
    "is_object",
    "kind_of",
    "objects",
    "parsed",
]

Object = dict[str, Any]

_DEEPEST = 3  # strings in strings


class ShapeError(Exception):
    """A piece of an observation is no part of a chat.

    Args:
        place: dotted path in the observation.
        message: what is wrong and what to do, without text of the row.
    """

    def __init__(self, place: str, message: str) -> None:
        self.place, self.message = place, message
        super().__init__(place, message)


def decoded(value: Any) -> Any:
    """The value that a JSON string holds, however often it was encoded.

    Text that is no JSON object or list stays as it is: an answer of ``"12"`` or ``"true"`` is
    that text.
    """
    found = value
    for _ in range(_DEEPEST):
        if not isinstance(found, str) or found.lstrip()[:1] not in {"{", "[", '"'}:
            break
        try:
            found = parsed(found)
        except ValueError:
            break
    return found if isinstance(found, dict | list) else value


def parsed(text: str | bytes) -> Any:
    """The JSON value of a text; half characters in it become question marks.

    JavaScript writes those when it cuts a text in the middle of a character: one of them must not
    make the rest unreadable.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        whole = json.dumps(json.loads(text), ensure_ascii=False)
        return orjson.loads(encodable(whole))


def encodable(text: str) -> str:
    """A text that can be written as UTF-8: half characters become question marks."""
    return text.encode("utf-8", "replace").decode()


def is_object(value: Any) -> TypeGuard[Object]:
    """Whether it is a JSON object."""
    return isinstance(value, dict)


def objects(value: Any) -> TypeGuard[list[Object]]:
    """Whether it is a list of JSON objects, and not empty."""
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def dumped(value: Any) -> str:
    """A value as text: strings as they are, the rest as JSON."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # whole numbers of more than 64 bits, half characters
        return encodable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def kind_of(value: Object) -> str:
    """The ``type`` of an object, "" where it has none."""
    found = value.get("type")
    return found if isinstance(found, str) else ""


def first(given: Mapping[str, Any], *names: str) -> Any:
    """The first of some fields that is there and not null."""
    return next((given[name] for name in names if given.get(name) is not None), None)
