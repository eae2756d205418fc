r"""The canonical hash of a request: equal where the answers may be shared.

``fingerprint`` is ``"u1:"`` and the hex SHA-256 of the RFC 8785 form of this object::

    {"messages": [...], "model": "...", "response_format": {...}, "sampling": {...},
     "tenant": "...", "tools": [...]}

The rules, each with golden vectors in ``tests/unit/fingerprint_vectors.json``:

* ``model`` is the model version where the caller knows it, else the request's model.
* Field order never matters; the order of messages, tools and parts does.
* Null is absent, at any depth of a message and at the top of sampling. Empty ``tools``, an empty
  ``tool_calls`` and empty sampling are absent. Nulls inside tools and response format stay: in a
  JSON schema they mean something.
* A ``content`` that is a list of one plain text part equals that text. More parts are not joined.
* Left out, wherever the caller put them among the sampling parameters: ``stream``,
  ``stream_options``, ``user``, ``metadata``, ``store``, ``service_tier``, and the identifiers
  that only route or meter (``safety_identifier``, ``prompt_cache_key``,
  ``prompt_cache_retention``).
* 1 and 1.0 are one number, as in JSON. Defaults are not filled in: a parameter that is absent
  differs from one that says what the provider would assume, which may change.
* ``tenant`` keeps one customer's answers from another.

RFC 8785 knows doubles only: whole numbers past 2\*\*53 - 1, NaN, infinities and lone surrogates
are refused. A new set of rules gets a new prefix, so old fingerprints never mean something else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
import rfc8785

from understudy.errors import DataError
from understudy.model import ChatRequest

__all__ = ["LEFT_OUT", "VERSION", "canonical", "fingerprint", "reusable"]

VERSION = "u1"

LEFT_OUT = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "user",
    }
)
"""Parameters that do not change what is answered."""

_MAX_INT = 2**53 - 1
_SORTED = orjson.OPT_SORT_KEYS


def fingerprint(request: ChatRequest, *, model_version: str | None = None) -> str:
    """The hash under which answers to ``request`` are kept: ``u1:`` and 64 hex digits.

    Args:
        request: what is asked.
        model_version: the exact version that answers, where ``request.model`` is an alias.

    Raises:
        DataError: a value has no canonical JSON form.
    """
    return (
        f"{VERSION}:{hashlib.sha256(canonical(request, model_version=model_version)).hexdigest()}"
    )


def canonical(request: ChatRequest, *, model_version: str | None = None) -> bytes:
    """The RFC 8785 bytes that ``fingerprint`` hashes. They hold the prompt: never log them.

    Raises:
        DataError: a value has no canonical JSON form.
    """
    messages: list[Any] = list(request.messages)
    if not all(map(_is_text_alone, messages)):
        messages = list(map(_message, messages))
    fields: list[tuple[str, Any]] = [("messages", messages)]
    fields.append(("model", request.model if model_version is None else model_version))
    if request.response_format is not None:
        fields.append(("response_format", request.response_format))
    sampling = {k: v for k, v in request.sampling.items() if v is not None and k not in LEFT_OUT}
    if sampling:
        fields.append(("sampling", sampling))
    if request.tenant is not None:
        fields.append(("tenant", request.tenant))
    if request.tools:
        fields.append(("tools", list(request.tools)))
    # The names above stand in canonical order, so the object can be put together from its parts.
    return b"{" + b",".join([b'"%b":%b' % (n.encode(), _encode(v, n)) for n, v in fields]) + b"}"


def reusable(request: ChatRequest, *, reuse_sampled: bool = False) -> bool:
    """Whether an answer to ``request`` may stand in for another answer to it.

    Sampled requests may not, unless ``reuse_sampled`` asks for it: those where ``temperature`` is
    not given as 0 (providers sample by default; a seed promises nothing firm), and those that
    want several choices (``n`` above 1), which differ by intent.
    """
    if reuse_sampled:
        return True
    temperature = request.sampling.get("temperature")
    several = request.sampling.get("n")
    return temperature is not None and temperature == 0 and (several is None or several == 1)


def _is_text_alone(message: Mapping[str, Any]) -> bool:
    """Whether ``_message`` would leave it as it is; most are such, and a hit is mostly hashing."""
    if type(message) is not dict:
        return False
    for value in message.values():  # noqa: SIM110 - a generator would take twice as long
        if type(value) is not str:
            return False
    return True


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    made = {key: _bare(value) for key, value in message.items() if value is not None}
    content = made.get("content")
    if type(content) is list and len(content) == 1:
        part = content[0]
        if type(part) is dict and part.keys() == {"type", "text"} and part["type"] == "text":
            made["content"] = part["text"]
    if made.get("tool_calls") == []:
        del made["tool_calls"]
    return made


def _bare(value: Any) -> Any:
    """``value`` without nulls in its objects."""
    kind = type(value)
    if kind is str or kind is bool or kind is int:
        return value
    if isinstance(value, Mapping):
        return {key: _bare(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_bare(item) for item in value]
    return value


def _encode(value: Any, name: str) -> bytes:
    try:
        if _same_in_orjson(value):
            return orjson.dumps(value, option=_SORTED)
        return rfc8785.dumps(_plain(value))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"has no canonical form ({type(error).__name__}); use JSON values, whole numbers "
            "within 2**53, and text without lone surrogates",
            field=name,
        ) from None


def _same_in_orjson(value: Any) -> bool:
    """Whether orjson writes ``value`` as RFC 8785 does, many times as fast.

    They part at floats, at whole numbers past doubles, and where keys are sorted by UTF-8 and by
    UTF-16 in different orders.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_MAX_INT <= value <= _MAX_INT)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                return False
            if type(item) is not str and not _same_in_orjson(item):
                return False
        return True
    return kind is list and all(map(_same_in_orjson, value))


def _plain(value: Any) -> Any:
    """Mappings and sequences as the dict and list that rfc8785 takes."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
