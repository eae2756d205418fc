"""What each kind of fault does to a request, before its effect or after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response

from understudy_sandbox.azure import faults as azure
from understudy_sandbox.errors import ApiError, json_response
from understudy_sandbox.langfuse import faults as langfuse
from understudy_sandbox.wire import dropped, truncated

if TYPE_CHECKING:
    from starlette.requests import Request

    from understudy_sandbox.faults import Rule
    from understudy_sandbox.provider import Provider


def _scripted(rule: Rule) -> ApiError:
    headers = {}
    if rule.retry_after is not None:
        headers["retry-after"] = f"{rule.retry_after:g}"
    kind = rule.type or ("server_error" if rule.status >= 500 else "requests")
    message = rule.message or f"The fault script answers {rule.status} here."
    return ApiError(rule.status, message, kind=kind, code=rule.code, headers=headers)


def _preset(rule: Rule, request: Request) -> ApiError | None:
    if rule.do == "not_eligible":
        return ApiError(
            403,
            rule.message
            or "Your organization is not eligible to create fine-tuning jobs: it has no recent "
            "fine-tuned inference. Move to another provider.",
            code=rule.code or "fine_tuning_not_available",
        )
    if rule.do == "quota":
        return ApiError(
            429,
            "You exceeded your current quota. Check your plan and billing details.",
            kind="insufficient_quota",
            code="insufficient_quota",
        )
    if rule.do == "too_many_jobs":
        return ApiError(
            429,
            "This fine-tune request has been rate-limited: your organization has reached its "
            "maximum of active requests for the model. Try again when one has ended.",
            code="rate_limit_exceeded",
        )
    if rule.do == "echo_key":
        sent = request.headers.get("authorization", "")
        key = sent.removeprefix("Bearer ").strip() or request.headers.get("api-key", "")
        return ApiError(
            401,
            f"Incorrect API key provided: {key}. The request came with 'Authorization: {sent}'.",
            code="invalid_api_key",
        )
    return None


async def before(
    provider: Provider, request: Request, operation: str, rule: Rule
) -> Response | None:
    """Apply a rule before the request's effect; a response ends the request there.

    Raises:
        ApiError: the rule answers with an error.
    """
    if rule.do == "error":
        raise _scripted(rule)
    refusal = (
        _preset(rule, request)
        or azure.preset(rule, request, operation)
        or langfuse.preset(rule, operation)
    )
    if refusal is not None:
        raise refusal
    if rule.do == "drop":
        return dropped()
    if rule.do == "expire_key":
        provider.faults.expire_key(expired=True)
        raise ApiError(401, "Your API key has expired. Use another.", code="invalid_api_key")
    if rule.do == "retire":
        provider.catalog.retire(rule.model or "gpt-4o-mini-2024-07-18")
    if rule.do == "hold_before":
        # The body is read first, so that the client has sent everything when it is held.
        await read_all(request)
        if not await provider.holds.hold(request, operation, "before", None):
            return dropped()
    return None


async def read_all(request: Request) -> None:
    """Read the request's body, keeping it for the handler; large files go to disk."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        await request.form()
    else:
        await request.body()


async def after(
    provider: Provider, request: Request, operation: str, rule: Rule, response: Response
) -> Response:
    """Apply a rule after the request's effect.

    Raises:
        ApiError: the rule answers with an error although the effect happened.
    """
    body = _body(response)
    name = body.get("id") if isinstance(body, dict) else None
    if name is not None:
        _mark(provider, rule, str(name))
    if rule.do == "error_after":
        raise _scripted(rule)
    if rule.do == "drop_after":
        return dropped()
    if rule.do == "truncate":
        return truncated(response)
    if rule.do == "garbled_body":
        return Response(b'{"object": "fine_tun', media_type="application/json")
    if rule.do == "hold_after" and not await provider.holds.hold(request, operation, "after", name):
        return dropped()
    if rule.do == "status" and isinstance(body, dict):
        return _again(response, _with_status(body, rule.value))
    bent = azure.reshaped(rule, body) if isinstance(body, dict) else None
    return response if bent is None else _again(response, bent)


def _again(response: Response, body: dict[str, Any]) -> Response:
    kept = {k: v for k, v in response.headers.items() if not k.startswith("content-")}
    return json_response(body, status=response.status_code, headers=kept)


def _body(response: Response) -> Any:
    if response.media_type != "application/json" or not isinstance(response.body, bytes):
        return None
    return orjson.loads(response.body)


def _with_status(body: dict[str, Any], value: str) -> dict[str, Any]:
    if "data" in body:
        return {**body, "data": [{**d, "status": value} for d in body["data"]]}
    return {**body, "status": value} if "status" in body else body


def _mark(provider: Provider, rule: Rule, name: str) -> None:
    azure.mark(provider.deployments, rule, name)
    docs = provider.state.docs
    if rule.do == "list_lag":
        for kind in ("job", "batch", "file"):
            doc = docs[kind].get(name)
            if doc is not None:
                # In place: the trainer may hold this very document.
                doc["visible_at"] = provider.clock.now() + rule.seconds
                docs[kind].put(doc)
    if rule.do in {"fail_job", "cancel_job"}:
        provider.trainer.force(
            name,
            {
                "status": "failed" if rule.do == "fail_job" else "cancelled",
                "at": rule.at,
                "code": rule.code or "unsafe_file",
                "message": rule.message or "The training file was found to hold unsafe content.",
                "param": "training_file",
            },
        )
