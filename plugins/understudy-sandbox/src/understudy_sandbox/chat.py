"""Answers to chat requests: learned ones of fine-tunes, generic prose of base models."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from understudy_sandbox.fits import spec_of
from understudy_sandbox.learner.rows import Answer, Prompt, prompt_of
from understudy_sandbox.tokens import chat_tokens, count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from understudy_sandbox.catalog import Resolved
    from understudy_sandbox.fits import Fits

_OPENINGS = (
    "I can help with that.",
    "Sure, let me think about this.",
    "That is a good question.",
    "Here is a short answer.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A finished answer with its token counts."""

    content: str | None
    calls: tuple[dict[str, Any], ...]
    finish: str
    inputs: int
    outputs: int

    @property
    def message(self) -> dict[str, Any]:
        """The assistant message on the wire."""
        made: dict[str, Any] = {
            "role": "assistant",
            "content": self.content,
            "refusal": None,
            "annotations": [],
        }
        if self.calls:
            made["tool_calls"] = list(self.calls)
        return made

    @property
    def usage(self) -> dict[str, Any]:
        """The usage object on the wire."""
        return {
            "prompt_tokens": self.inputs,
            "completion_tokens": self.outputs,
            "total_tokens": self.inputs + self.outputs,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


def generic(prompt: Prompt, *, as_json: bool) -> Answer:
    """What an untrained assistant says: polite, deterministic, and no use for the task."""
    pick = sha256(prompt.text.encode()).digest()[0]
    about = " ".join(re.findall(r"\w+", prompt.text)[:6]) or "your request"
    said = f"{_OPENINGS[pick % len(_OPENINGS)]} You asked about {about}; could you tell me more?"
    return Answer(content=f'{{"reply": "{said}"}}' if as_json else said)


def answers_for(fits: Fits, model: Resolved, requests: Sequence[dict[str, Any]]) -> list[Reply]:
    """Answer requests of one model, all at once.

    Args:
        fits: where fitted models are.
        model: the model to ask.
        requests: bodies of chat requests, already checked.
    """
    asked = [(prompt_of(r["messages"]), wants_json(r)) for r in requests]
    answers = answer_prompts(fits, model, asked)
    return [_reply(r, a) for r, a in zip(requests, answers, strict=True)]


def answer_prompts(
    fits: Fits, model: Resolved, asked: Sequence[tuple[Prompt, bool]]
) -> list[Answer]:
    """The answer to each prompt; the flag says that it must be JSON."""
    if model.tuned is None:
        return [generic(p, as_json=as_json) for p, as_json in asked]
    learned, _ = fits.fitted(spec_of(model.tuned["fit"]))
    return learned.answer_many([p for p, _ in asked])


def wants_json(request: dict[str, Any]) -> bool:
    """Whether a request asks for an answer in JSON."""
    kind = (request.get("response_format") or {}).get("type")
    return kind in {"json_object", "json_schema"}


def _cut(text: str, stop: Any, limit: int | None) -> tuple[str, str, int]:
    for mark in [stop] if isinstance(stop, str) else stop or ():
        text = text.split(mark, 1)[0]
    used = count(text)
    if limit is None or used <= limit:
        return text, "stop", used
    while used > limit:
        # A cut by characters first: token borders are found from there in a few steps.
        text = text[: max(0, min(len(text) - 1, len(text) * limit // used))]
        used = count(text)
    return text, "length", used


def _reply(request: dict[str, Any], answer: Answer) -> Reply:
    tools = request.get("tools") or request.get("functions")
    inputs = chat_tokens(request["messages"], tools)
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    return said(answer, stop=request.get("stop"), limit=limit, inputs=inputs)


def said(answer: Answer, *, stop: Any, limit: int | None, inputs: int) -> Reply:
    """An answer as it goes out, cut where the request says so."""
    if answer.calls:
        calls = tuple(
            {
                "id": "call_" + sha256(f"{i}{c.name}{c.arguments}".encode()).hexdigest()[:24],
                "type": "function",
                "function": {"name": c.name, "arguments": c.arguments},
            }
            for i, c in enumerate(answer.calls)
        )
        used = sum(count(c.name) + count(c.arguments) for c in answer.calls)
        return Reply(
            content=answer.content or None,
            calls=calls,
            finish="tool_calls",
            inputs=inputs,
            outputs=used,
        )
    text, finish, used = _cut(answer.content or "", stop, limit)
    return Reply(content=text, calls=(), finish=finish, inputs=inputs, outputs=used)


def completion(name: str, created: int, model: str, reply: Reply) -> dict[str, Any]:
    """The ``chat.completion`` object."""
    return {
        "id": name,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [
            {"index": 0, "message": reply.message, "logprobs": None, "finish_reason": reply.finish}
        ],
        "usage": reply.usage,
        "service_tier": "default",
        "system_fingerprint": "fp_understudysandbox",
    }


def chunks(
    name: str, created: int, model: str, reply: Reply, *, usage: bool
) -> list[dict[str, Any]]:
    """The ``chat.completion.chunk`` objects of a streamed answer, in order."""
    deltas: list[tuple[dict[str, Any], str | None]] = [
        ({"role": "assistant", "content": "" if not reply.calls else None, "refusal": None}, None)
    ]
    words = re.findall(r"\s*\S+|\s+$", reply.content or "")
    deltas += [({"content": w}, None) for w in words]
    deltas += [({"tool_calls": [{"index": i, **c}]}, None) for i, c in enumerate(reply.calls)]
    deltas.append(({}, reply.finish))
    shared = {
        "id": name,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": "fp_understudysandbox",
    }
    extra = {"usage": None} if usage else {}
    made = [
        {
            **shared,
            **extra,
            "choices": [{"index": 0, "delta": d, "logprobs": None, "finish_reason": f}],
        }
        for d, f in deltas
    ]
    if usage:
        made.append({**shared, "choices": [], "usage": reply.usage})
    return made
