"""Requests as Azure accepts them: its own fields, and the api-version that each came with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from understudy_sandbox.errors import ApiError
from understudy_sandbox.schemas import Body, CreateBatch, CreateJob, Metadata, Purpose, validated

if TYPE_CHECKING:
    from starlette.requests import Request

# Classic api-versions (dates) that first knew a field of the job's create. The dates of method and
# seed are the service's; that of trainingType is the first that a client is known to send it with.
SINCE = {"seed": "2024-05-01", "method": "2024-10-01", "trainingType": "2025-02-01"}
CLASSIC_SUFFIX = 40
_IGNORED = frozenset({"metadata", "trainingType"})


class ImportFile(BaseModel):
    """POST /files/import."""

    model_config = ConfigDict(extra="ignore", strict=True)
    content_url: str
    filename: str
    purpose: Purpose


class AzureBatch(CreateBatch):
    """POST /batches: the endpoint has lost its ``/v1``."""

    endpoint: Literal["/chat/completions", "/v1/chat/completions"]  # type: ignore[assignment]


class Sku(Body):
    """How a deployment is paid, and its capacity in thousands of tokens a minute."""

    name: str
    capacity: Annotated[int, Field(ge=0)] = 1
    tier: str | None = None
    size: str | None = None
    family: str | None = None


class Model(BaseModel):
    """The model of a deployment. ``source`` is the resource that a fine-tune comes from."""

    model_config = ConfigDict(extra="ignore", strict=True)
    format: str = "OpenAI"
    name: str
    version: str | None = None
    source: str | None = None
    sourceAccount: str | None = None  # noqa: N815 - the wire's name


class Properties(BaseModel):
    """What a deployment is; fields that the sandbox has no use for are taken and left."""

    model_config = ConfigDict(extra="ignore", strict=True)
    model: Model


class PutDeployment(BaseModel):
    """PUT of a deployment; what a GET gave may be sent back."""

    model_config = ConfigDict(extra="ignore", strict=True)
    sku: Sku
    properties: Properties
    tags: Metadata | None = None


def _old(version: str | None, given: dict[str, Any]) -> ApiError | None:
    for field, since in SINCE.items():
        if version is not None and field in given and version < since:
            return ApiError(
                400,
                f"The field '{field}' is not known to api-version {version}: it needs {since} or "
                "later. Raise the api-version.",
                param=field,
                code="invalidPayload",
            )
    return None


def _plain(value: Any) -> Any:
    """Hyperparameters as OpenAI knows them: -1 is ``auto``, and so is null."""
    if isinstance(value, dict):
        return {k: "auto" if v in (-1, None) else v for k, v in value.items()}
    return value


def _suffix_trouble(suffix: Any, *, v1: bool) -> str | None:
    if not isinstance(suffix, str):
        return None
    if not v1 and len(suffix) > CLASSIC_SUFFIX:
        return f"at most {CLASSIC_SUFFIX} characters are allowed here, 64 on /openai/v1"
    if "." in suffix:
        return "a dot breaks the names of deployments; use letters, digits and hyphens"
    return None


async def job_body(
    request: Request, version: str | None, *, v1: bool
) -> tuple[dict[str, Any], CreateJob]:
    """The raw and the checked body of a job's create. Fields that classic knows not are left.

    Raises:
        ApiError: 400, it does not fit, or its api-version is too old for a field.
    """
    try:
        given = orjson.loads(await request.body() or b"{}")
    except orjson.JSONDecodeError:
        raise ApiError(400, "The body is not valid JSON.", code="invalidPayload") from None
    if not isinstance(given, dict):
        raise ApiError(400, "The body must be a JSON object.", code="invalidPayload")
    old = _old(version, given)
    if old is not None:
        raise old
    trouble = _suffix_trouble(given.get("suffix"), v1=v1)
    if trouble:
        raise ApiError(
            400, f"The suffix is not valid: {trouble}.", param="suffix", code="invalidPayload"
        )
    known = set(CreateJob.model_fields) - (set() if v1 else _IGNORED)
    body = {k: v for k, v in given.items() if k in known and v is not None}
    body["hyperparameters"] = _plain(body.get("hyperparameters"))
    method = body.get("method")
    if isinstance(method, dict) and method.get("type") in {"supervised", "dpo"}:
        kind = method["type"]
        inner = (method.get(kind) or {}).get("hyperparameters") or body["hyperparameters"] or {}
        body["method"] = {"type": kind, kind: {"hyperparameters": _plain(inner)}}
        body["hyperparameters"] = None
    return given, validated(CreateJob, body)
