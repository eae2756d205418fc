"""A chat completion request as its JSON body, and the key that its answer is kept under."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from understudy.cache.base import CacheStore, key_of
from understudy.errors import ConfigError, DataError
from understudy.fingerprint import canonical
from understudy.model import ChatRequest

__all__ = ["key_in", "key_of_request", "model_of", "request_of"]

_OWN = ("model", "messages", "tools", "response_format")


def request_of(body: Any) -> ChatRequest:
    """The request that ``body`` (as sent to ``/chat/completions``) asks.

    Raises:
        DataError: it is none; names the field.
    """
    if not isinstance(body, Mapping):
        raise DataError('a request is a JSON object such as {"messages": [...]}')
    messages, tools = body.get("messages"), body.get("tools") or []
    for name, value in (("messages", messages), ("tools", tools)):
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise DataError("is a list of objects", field=name)
    if not messages:
        raise DataError("has no message", field="messages")
    return ChatRequest(
        model=str(body.get("model", "")),
        messages=tuple(messages),
        tools=tuple(tools),
        response_format=body.get("response_format"),
        sampling={name: value for name, value in body.items() if name not in _OWN},
    )


def key_of_request(request: ChatRequest, *, model_version: str) -> bytes:
    """The key: the SHA-256 that the fingerprint writes as hex.

    Raises:
        DataError: the request has no canonical form.
    """
    return hashlib.sha256(canonical(request, model_version=model_version)).digest()


def key_in(store: CacheStore, cache: str, asked: str | ChatRequest, model: str | None) -> bytes:
    """The key of a fingerprint, or of a request to the model version that a cache answers for.

    Raises:
        ConfigError: the cache has no generation and nobody says which model.
        DataError: no fingerprint, or a request without a canonical form.
    """
    if isinstance(asked, str):
        return key_of(asked)
    return key_of_request(asked, model_version=model_of(store, cache, model))


def model_of(store: CacheStore, cache: str, model: str | None) -> str:
    """``model``, or the one whose answers the current generation holds.

    Raises:
        ConfigError: there is none.
    """
    generation = store.view(cache).generation
    if model is None and generation is None:
        raise ConfigError(
            f"cache {cache!r} has no current generation, so nothing says whose answers are meant; "
            "name the model version with --model"
        )
    return model or (generation.model if generation else "")
