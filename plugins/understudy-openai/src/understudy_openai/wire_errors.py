"""From what the SDK raised to what Understudy raises: one table, no import of the SDK."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal

from understudy.errors import (
    AuthError,
    BackendError,
    InvalidData,
    NotEligible,
    NotFound,
    OutcomeUnknown,
    QuotaError,
    RateLimited,
    Retired,
    Unavailable,
)
from understudy.model import Json
from understudy_openai.redaction import redact
from understudy_openai.wire_values import mapping, text

__all__ = ["EXCEPTIONS", "Failure", "failure_of", "kind_of", "retry_after", "to_error"]

Kind = Literal["status", "timeout", "connection", "reply", "auth", "usage"]

EXCEPTIONS: Mapping[str, Kind] = {
    # Every exception class of the SDK, by name; a test compares this with the installed one.
    "APIStatusError": "status",
    "BadRequestError": "status",
    "AuthenticationError": "status",
    "OAuthError": "auth",
    "PermissionDeniedError": "status",
    "NotFoundError": "status",
    "ConflictError": "status",
    "UnprocessableEntityError": "status",
    "RateLimitError": "status",
    "InternalServerError": "status",
    "APITimeoutError": "timeout",
    "APIConnectionError": "connection",
    "APIResponseValidationError": "reply",
    "APIError": "reply",
    "SubjectTokenProviderError": "auth",
    "MutuallyExclusiveAuthError": "auth",
    "OpenAIError": "usage",
    "LengthFinishReasonError": "usage",
    "ContentFilterFinishReasonError": "usage",
    "InvalidWebhookSignatureError": "usage",
    "WebSocketConnectionClosedError": "connection",
    "WebSocketQueueFullError": "connection",
    "APIRemovedInV1": "usage",
    "_AmbiguousModuleClientUsageError": "usage",
    "MissingDependencyError": "usage",
    "StreamAlreadyConsumed": "reply",
    "AgentFilePreparationError": "usage",
    "AgentFileStagingError": "usage",
    "AgentOutputParseError": "reply",
    "AgentTurnResultError": "reply",
}

NEVER_SENT = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "ProxyError",
        "UnsupportedProtocol",
    }
)
"""Transport errors that happen before the first byte of a request leaves."""

_QUOTA_CODES = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "account_deactivated",
        "exceeded_quota",
    }
)
_GONE = re.compile(
    r"(?i)\b(?:deprecat|shut ?down|shutdown|retired|decommission|no longer (?:available|supported))"
)
_NOT_ELIGIBLE = re.compile(
    r"(?i)not (?:eligible|allowed|permitted)|ineligible|no longer (?:able|allowed|eligible|may)"
    r"|(?:may|can|do|does)(?: ?not|n't) (?:have (?:access|permission)|fine-?tune|create|start)"
)
_FINE_TUNING = re.compile(r"(?i)fine[- _]?tun|training")
_NOT_THERE = frozenset({"model_not_found", "fine_tune_not_found", "file_not_found", "not_found"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """What is known of a request that went wrong. ``sent`` is False where nothing left."""

    kind: Kind
    status: int | None = None
    code: str | None = None
    type: str | None = None
    param: str | None = None
    message: str = ""
    retry_after: float | None = None
    sent: bool = True


def kind_of(exception: BaseException) -> Kind:
    """The row of ``EXCEPTIONS`` for the nearest known class of ``exception``."""
    for cls in type(exception).__mro__:
        if cls.__name__ in EXCEPTIONS:
            return EXCEPTIONS[cls.__name__]
    return "usage"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks us to wait: ``retry-after-ms``, seconds, or an HTTP date.

    A date is taken relative to the reply's own ``date``, since the clocks may differ.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "")
        if re.fullmatch(r"\d+(?:\.\d+)?", value.strip()):
            return float(value) / unit
    until, now = (_date(headers.get(name)) for name in ("retry-after", "date"))
    return None if until is None or now is None else max(0.0, until - now)


def _date(value: str | None) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp() if value else None
    except ValueError:
        return None


def failure_of(error: BaseException) -> Failure:
    """The facts of an exception of the SDK."""
    cause = type(error.__cause__).__name__
    response = getattr(error, "response", None)
    body = mapping(getattr(error, "body", None))
    return Failure(
        kind=kind_of(error),
        status=getattr(response, "status_code", None),
        code=_word(body.get("code")),
        type=_word(body.get("type")),
        param=_word(body.get("param")),
        message=text(body.get("message")) or "",
        retry_after=retry_after(response.headers) if response is not None else None,
        sent=cause not in NEVER_SENT,
    )


def _word(value: Json) -> str | None:
    return None if value is None or isinstance(value, dict | list) else str(value) or None


def to_error(
    failure: Failure, *, what: str, paid: bool, secrets: Iterable[str] = ()
) -> BackendError:
    """The error to raise for ``failure``.

    Args:
        failure: the facts.
        what: what was being done to what, such as ``create the fine-tuning job``.
        paid: the request starts paid work, so a doubtful outcome is ``OutcomeUnknown``.
        secrets: strings to keep out of the message.
    """
    words = redact(failure.message, secrets).rstrip(" .")
    code = redact(failure.code or "", secrets, limit=80) or None
    said = f": {words}" if words else ""
    answered = f"HTTP {failure.status}" + (f" ({code})" if code else "")
    if failure.kind == "status":
        return _of_status(failure, f"could not {what}: {answered}{said}", code, paid=paid)
    if failure.kind == "auth":
        fix = "Check how the key or token is obtained, then retry."
        return AuthError(f"could not {what}{said}. {fix}", code=code, status=failure.status)
    if failure.kind == "usage":
        return InvalidData(f"could not {what}{said}. Check the settings of the backend.", code=code)
    if not failure.sent:
        return Unavailable(
            f"could not {what}: no connection, nothing was sent{said}. "
            "Check base_url and the network; it is tried again."
        )
    trouble = {
        "timeout": "no reply in time",
        "connection": "the connection broke",
        "reply": "the reply cannot be read",
    }[failure.kind]
    return _doubtful(f"could not {what}: {trouble}{said}", code, failure.status, paid=paid)


def _doubtful(message: str, code: str | None, status: int | None, *, paid: bool) -> BackendError:
    if paid:
        return OutcomeUnknown(
            f"{message}. It may have taken effect all the same: look for it before sending again.",
            code=code,
            status=status,
        )
    return Unavailable(f"{message}. It is tried again.", code=code, status=status)


def _of_status(failure: Failure, said: str, code: str | None, *, paid: bool) -> BackendError:
    status = failure.status or 0
    if status >= 500 or status in {408, 409}:
        return _doubtful(said, code, status, paid=paid)
    for applies, cls, fix in _RULES:
        if not applies(failure):
            continue
        error = cls(f"{said}. {fix}", code=code, status=status)
        if isinstance(error, RateLimited):
            error.retry_after = failure.retry_after
        return error
    return InvalidData(f"{said}. Correct the request and run it again.", code=code, status=status)


def is_quota(failure: Failure) -> bool:
    """Money is used up: also sent as 429, where waiting does not help."""
    codes = {failure.code, failure.type}
    return failure.status == 402 or bool(codes & _QUOTA_CODES)


def is_over_enqueued(failure: Failure) -> bool:
    """The limit on enqueued tokens of batches; room comes back as batches end."""
    return failure.code == "token_limit_exceeded"


def is_too_many_jobs(failure: Failure) -> bool:
    """The limit on running jobs comes as 429, or 400, with type invalid_request_error."""
    return failure.code == "rate_limit_exceeded"


def is_too_fast(failure: Failure) -> bool:
    """Any other 429."""
    return failure.status == 429


def is_not_eligible(failure: Failure) -> bool:
    """The organisation may not start fine-tuning jobs (any more)."""
    if failure.status not in {400, 401, 403, 404}:
        return False
    if failure.code in {"not_eligible", "unsupported_country_region_territory"}:
        return True
    text = f"{failure.code or ''} {failure.message}"
    may_not = _NOT_ELIGIBLE.search(text) or failure.code == "fine_tuning_not_allowed"
    about_model = failure.param == "model" and failure.status in {400, 404}
    return bool(may_not and _FINE_TUNING.search(text)) and not about_model


def is_retired(failure: Failure) -> bool:
    """The model is shut down; it comes as 404 or 400, by code or only in words."""
    if failure.status not in {400, 403, 404, 410}:
        return False
    text = f"{failure.code or ''} {failure.message}"
    return failure.status == 410 or (_GONE.search(text) is not None and "model" in text.lower())


def is_missing(failure: Failure) -> bool:
    """It is not there; models of others come as 403 or 400 with code model_not_found."""
    return failure.status == 404 or failure.code in _NOT_THERE


def is_refused_key(failure: Failure) -> bool:
    """Key or token refused, or without the right to do this."""
    return failure.status in {401, 403}


def is_elsewhere(failure: Failure) -> bool:
    """A redirect is not followed: the key must not go to an address nobody configured."""
    return 300 <= (failure.status or 0) < 400


_RULES: tuple[tuple[Callable[[Failure], bool], type[BackendError], str], ...] = (
    (is_quota, QuotaError, "Add credit or raise the limit of the account, then retry."),
    (is_over_enqueued, RateLimited, "Wait until a running batch has ended."),
    (is_too_many_jobs, RateLimited, "Wait until a running job has ended."),
    (is_too_fast, RateLimited, "Wait and ask again."),
    (
        is_not_eligible,
        NotEligible,
        "This organisation may not fine-tune here: use another organisation or backend.",
    ),
    (is_retired, Retired, "Choose a model that is not shut down."),
    (is_missing, NotFound, "Check the name, the project and the organisation."),
    (is_refused_key, AuthError, "Check the key and its rights, then retry."),
    (is_elsewhere, NotFound, "The address redirects: set base_url to where the API really is."),
)
