"""OpenAI stored completions as calls.

A line is a ``chat.completion`` object as the API lists it (``store=true``), with the request's
messages beside it: under ``messages`` (what ``/chat/completions/{id}/messages`` lists), under
``input`` or under ``request``. Exports that put them apart, ``{"input": request, "output":
completion}``, are read as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from understudy.backend import Params
from understudy.model import Json, TraceRecord

__all__ = ["StoredCompletions"]

Object = dict[str, Any]


class StoredCompletions:
    """Each line is one call. ``metadata`` and its ``conversation_id`` field are kept.

    ``conversation`` names the metadata field that says which calls belong together.
    """

    class Options(Params):
        conversation: str = "conversation_id"

    def __init__(self, *, options: Options) -> None:
        self._conversation = options.conversation

    def calls(self, value: Mapping[str, Json]) -> Iterable[TraceRecord]:
        """The call on one line."""
        apart = value.get("output")
        whole = dict(value)
        if isinstance(apart, dict) and "choices" in apart:
            request = value.get("input")
            whole = {**apart, "request": request if isinstance(request, dict) else {}}
            whole.setdefault("metadata", value.get("metadata") or value.get("tags"))
        place, problem = _trouble(whole)
        if problem:
            yield TraceRecord(value=value, place=place, problem=problem)
        else:
            yield TraceRecord(value=self._call(whole))

    def _call(self, whole: Object) -> Object:
        choice = whole["choices"][0]
        metadata = whole.get("metadata") or {}
        call = {
            "id": whole["id"],
            "at": _time(whole.get("created")),
            "model": whole.get("model"),
            "messages": [_asked(message) for message in _messages(whole)],
            "response": {
                "message": choice.get("message"),
                "finish_reason": choice.get("finish_reason"),
            },
            "tools": _request(whole).get("tools") or whole.get("tools"),
            "metadata": metadata,
        }
        if isinstance(metadata, dict) and metadata.get(self._conversation):
            call["conversation_id"] = str(metadata[self._conversation])
        return call


def _trouble(whole: Object) -> tuple[str, str]:
    choices = whole.get("choices")
    if not isinstance(whole.get("id"), str):
        return "id", "is missing; is this an export of stored completions?"
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return "choices", "holds no answer"
    messages = _messages(whole)
    if not isinstance(messages, list) or not messages:
        return "messages", (
            "are missing: the list of completions leaves them out; "
            "export each completion's messages with it"
        )
    return "", ""


def _request(whole: Object) -> Object:
    request = whole.get("request")
    return request if isinstance(request, dict) else {}


def _messages(whole: Object) -> Any:
    for found in (whole.get("messages"), whole.get("input"), _request(whole).get("messages")):
        if isinstance(found, dict) and isinstance(found.get("data"), list):
            return found["data"]
        if found:
            return found
    return None


def _asked(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    # Listed messages have ids of their own, and parts beside the text.
    kept = {key: value for key, value in message.items() if key not in {"id", "content_parts"}}
    if kept.get("content") is None and message.get("content_parts"):
        kept["content"] = message["content_parts"]
    return kept


def _time(created: Any) -> str | None:
    if not isinstance(created, int | float) or isinstance(created, bool):
        return None
    return datetime.fromtimestamp(created, UTC).isoformat()
