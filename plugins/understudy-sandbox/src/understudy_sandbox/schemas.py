"""Requests as the provider accepts them, in this project's own words."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request

from understudy_sandbox.errors import ApiError

Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]


class Body(BaseModel):
    """A request body: unknown fields and loosely typed values are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Hyperparameters(Body):
    """Of one method; ``auto`` leaves a value to the provider."""

    n_epochs: Literal["auto"] | Annotated[int, Field(ge=1, le=50)] = "auto"
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] | None = "auto"
    learning_rate_multiplier: Literal["auto"] | Annotated[float, Field(gt=0, strict=False)] = "auto"


class DpoHyperparameters(Hyperparameters):
    """With the weight of the penalty."""

    beta: Literal["auto"] | Annotated[float, Field(gt=0, le=2, strict=False)] = "auto"


class Supervised(Body):
    """Settings of the supervised method."""

    hyperparameters: Hyperparameters = Hyperparameters()


class Dpo(Body):
    """Settings of the preference method."""

    hyperparameters: DpoHyperparameters = DpoHyperparameters()


class Method(Body):
    """How to train. Reinforcement is known to the wire; the sandbox declines to do it."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: Dpo | None = None
    reinforcement: dict[str, Any] | None = None


class WandbSettings(Body):
    """Where metrics would be sent; the sandbox sends none."""

    project: str
    name: str | None = None
    entity: str | None = None
    tags: list[str] = []


class Integration(Body):
    """A reporting integration."""

    type: Literal["wandb"]
    wandb: WandbSettings


class CreateJob(Body):
    """POST /fine_tuning/jobs."""

    model: str
    training_file: str
    validation_file: str | None = None
    hyperparameters: Hyperparameters | None = None
    method: Method | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    integrations: Annotated[list[Integration], Field(max_length=5)] | None = None
    metadata: Metadata | None = None

    @model_validator(mode="after")
    def _one_place_for_hyperparameters(self) -> CreateJob:
        if self.hyperparameters is not None and self.method is not None:
            raise ValueError("give hyperparameters inside method, or alone, not both")
        return self


class ExpiresAfter(Body):
    """When a file goes: seconds after it was made."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000, strict=False)]


Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]


class CreateUpload(Body):
    """POST /uploads."""

    filename: str
    purpose: Purpose
    bytes: Annotated[int, Field(ge=0, le=8 * 2**30)]
    mime_type: str
    expires_after: ExpiresAfter | None = None


class CompleteUpload(Body):
    """POST /uploads/{id}/complete."""

    part_ids: list[str]
    md5: str | None = None


class CreateBatch(Body):
    """POST /batches."""

    input_file_id: str
    endpoint: Literal[
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/completions",
        "/v1/moderations",
    ]
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None


class CreatePermissions(Body):
    """POST /fine_tuning/checkpoints/{checkpoint}/permissions."""

    project_ids: Annotated[list[str], Field(min_length=1)]


class Message(BaseModel):
    """One chat message; what a role may further hold is left to the learner."""

    model_config = ConfigDict(extra="allow", strict=True)
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None


class StreamOptions(Body):
    """What a stream ends with."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatRequest(Body):
    """POST /chat/completions. Sampling fields are accepted; the sandbox always answers greedily."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, strict=False)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2, strict=False)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2, strict=False)] | None = None
    logit_bias: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[dict[str, Any]] | None = None
    function_call: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    metadata: Metadata | None = None
    modalities: list[str] | None = None
    prediction: dict[str, Any] | None = None


BodyT = TypeVar("BodyT", bound=BaseModel)


def refused(error: ValidationError) -> ApiError:
    """The 400 for a body that does not fit, naming the first field at fault."""
    first = error.errors(include_url=False, include_input=False)[0]
    # Names of union members are pydantic's own and mean nothing on the wire.
    path = [str(p) for p in first["loc"] if not str(p).startswith(("literal", "constrained"))]
    param = ".".join(path) or None
    if first["type"] == "extra_forbidden":
        return ApiError(
            400,
            f"Unrecognized request argument supplied: {param}",
            param=param,
            code="unknown_parameter",
        )
    if first["type"] == "missing":
        return ApiError(
            400,
            f"Missing required parameter: '{param}'.",
            param=param,
            code="missing_required_parameter",
        )
    return ApiError(
        400,
        f"Invalid value for '{param or 'body'}': {first['msg']}.",
        param=param,
        code="invalid_value",
    )


def validated(model: type[BodyT], value: Any) -> BodyT:
    """A checked body.

    Raises:
        ApiError: 400, naming the field.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise refused(error) from None


async def body_of(request: Request, model: type[BodyT]) -> BodyT:
    """The checked JSON body of a request.

    Raises:
        ApiError: 400, where it is no JSON object or does not fit.
    """
    try:
        value = orjson.loads(await request.body() or b"{}")
    except orjson.JSONDecodeError:
        raise ApiError(
            400, "We could not parse the JSON body of your request. Send a JSON object."
        ) from None
    return validated(model, value)
