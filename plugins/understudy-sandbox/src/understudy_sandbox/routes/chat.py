"""Chat completions, plain and streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response, StreamingResponse

from understudy_sandbox.chat import answers_for, chunks, completion
from understudy_sandbox.errors import json_response
from understudy_sandbox.schemas import ChatRequest, body_of
from understudy_sandbox.server import Operation
from understudy_sandbox.state import new_id

if TYPE_CHECKING:
    from starlette.requests import Request

    from understudy_sandbox.catalog import Resolved
    from understudy_sandbox.provider import Provider


async def create(provider: Provider, request: Request) -> Response:
    """POST /chat/completions."""
    body = await body_of(request, ChatRequest)
    provider.trainer.settle()
    answer = await answered(provider, body, provider.catalog.resolve(body.model))
    return streamed(answer) if body.stream else json_response(answer[0])


async def answered(provider: Provider, body: ChatRequest, model: Resolved) -> list[dict[str, Any]]:
    """Answer and bill a request: its ``chat.completion``, or the chunks of a stream."""
    asked = body.model_dump(exclude_unset=True)
    (reply,) = await asyncio.to_thread(answers_for, provider.fits, model, [asked])
    name, created = new_id("chatcmpl-", 29), int(provider.clock.now())
    provider.bill.inference(
        "inference", name, model.priced, inputs=reply.inputs, outputs=reply.outputs
    )
    if not body.stream:
        return [completion(name, created, model.name, reply)]
    usage = bool(body.stream_options and body.stream_options.include_usage)
    return chunks(name, created, model.name, reply, usage=usage)


def streamed(made: list[dict[str, Any]]) -> Response:
    """Chunks as server-sent events."""

    async def lines() -> AsyncIterator[bytes]:
        for chunk in made:
            yield b"data: " + orjson.dumps(chunk) + b"\n\n"
        yield b"data: [DONE]\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


OPERATIONS = (
    Operation(
        name="chat.completions.create", method="POST", path="/v1/chat/completions", handler=create
    ),
)
