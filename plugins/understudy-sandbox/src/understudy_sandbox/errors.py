"""Errors on the wire, in OpenAI's envelope."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

INVALID = "invalid_request_error"


class ApiError(Exception):
    """An error that the client sees.

    Attributes:
        status: HTTP status.
        body: the envelope ``{"error": {message, type, param, code}}``.
        headers: further response headers.
        more: what Azure's envelope holds beside code and message.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.more = more or {}
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}

    def response(self) -> Response:
        """The HTTP response of this error."""
        return json_response(self.body, status=self.status, headers=self.headers)


def json_response(
    body: Any, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """A JSON response."""
    return Response(
        orjson.dumps(body), status_code=status, headers=headers, media_type="application/json"
    )


def not_found(what: str, name: str, *, param: str = "id", code: str | None = None) -> ApiError:
    """404 for an object that is not there."""
    return ApiError(404, f"No such {what}: {name}. List what there is.", param=param, code=code)


def no_model(name: str, *, status: int = 404) -> ApiError:
    """The answer of a model that is not there, or no longer."""
    return ApiError(
        status,
        f"The model `{name}` does not exist or you do not have access to it.",
        param="model",
        code="model_not_found",
    )
