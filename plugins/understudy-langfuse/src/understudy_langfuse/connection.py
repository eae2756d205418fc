"""The wire: requests to one project, asked patiently. Every failure is one of our errors."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import httpx
import orjson
import tenacity

from understudy.backend import Clock
from understudy.errors import BackendError, InvalidData, NotFound, TransientError, Unavailable
from understudy_langfuse.settings import LangfuseSettings
from understudy_langfuse.shapes import parsed
from understudy_langfuse.wire_errors import refusal, unreadable

__all__ = ["Connection", "Refused"]

T = TypeVar("T")

_LONGEST_PAUSE = 120.0  # seconds; what asks for more is for the caller to come back to


class Refused(Exception):  # noqa: N818 - never leaves this package
    """A reply that is none of success, or one of success that is no JSON."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
        self.status, self.body, self.headers = status, body, headers
        super().__init__(status)


class Connection:
    """One project, asked patiently.

    Args:
        settings: which project.
        clock: for dates in ``retry-after``.
        sleep: waits for so many seconds.
    """

    def __init__(
        self, settings: LangfuseSettings, clock: Clock, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.settings, self._clock, self._sleep = settings, clock, sleep
        self._opened: httpx.Client | None = None

    @property
    def server(self) -> str:
        """The address, for messages."""
        return self.settings.base_url

    @property
    def http(self) -> httpx.Client:
        """The client; redirects would take the keys along, so they are told instead."""
        if self._opened is None:
            self._opened = httpx.Client(timeout=self.settings.timeout, follow_redirects=False)
        return self._opened

    def get(
        self, what: str, path: str, query: Mapping[str, Any], *, attempts: int | None = None
    ) -> Any:
        """The JSON of a list, as it came.

        Args:
            what: what is asked for, for messages.
            path: below ``/api/public``.
            query: parameters.
            attempts: how often it is tried; default: the settings'.

        Raises:
            BackendError: it was refused, or the patience has run out.
        """
        return self.patiently(what, lambda: self._request("GET", path, params=query), attempts)

    def post_spans(
        self, spans: Sequence[Mapping[str, Any]], *, attempts: int | None = None
    ) -> None:
        """Send spans in OTLP's JSON form. A span that is sent again takes the place of the first.

        The SDK's own method for this knows no lists in attributes, which tags are.

        Raises:
            InvalidData: the server refused some of them, or the request.
            BackendError: as ``get``.
        """
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "understudy"}}]}
        group = {"scope": {"name": "understudy"}, "spans": list(spans)}
        body = {"resourceSpans": [{"resource": resource, "scopeSpans": [group]}]}
        headers = {"content-type": "application/json", "x-langfuse-ingestion-version": "4"}
        content = orjson.dumps(body)
        reply = self.patiently(
            "OTLP traces",
            lambda: self._request("POST", "otel/v1/traces", content=content, headers=headers),
            attempts,
        )
        told = reply.get("partialSuccess") if isinstance(reply, dict) else None
        refused = (told or {}).get("rejectedSpans")
        if refused and int(refused):
            raise InvalidData(f"Langfuse at {self.server} refused {refused} of {len(spans)} spans")

    def _request(self, method: str, path: str, **given: Any) -> Any:
        given["headers"] = {
            **given.get("headers", {}),
            "x-langfuse-public-key": self.settings.public_key,
            "x-langfuse-sdk-name": "understudy",
        }
        auth = (self.settings.public_key, self.settings.secret_key.get_secret_value())
        reply = self.http.request(method, f"{self.server}/api/public/{path}", auth=auth, **given)
        said: Any = reply.text
        readable = True
        try:
            said = parsed(reply.content) if reply.content else {}
        except ValueError:
            readable = False
        if not reply.is_success or not readable:
            raise Refused(reply.status_code, said, reply.headers)
        return said

    def patiently(self, what: str, attempt: Callable[[], T], attempts: int | None = None) -> T:
        """What ``attempt`` gives; tried again while the server is busy or away.

        Args:
            what: what is asked for, for messages.
            attempt: one request, safe to repeat; it raises ``Refused`` or what httpx raises.
            attempts: how often; default: the settings'.

        Raises:
            BackendError: it was refused, or the patience has run out.
        """
        trying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_passes),
            stop=tenacity.stop_after_attempt(attempts or self.settings.attempts),
            wait=_pause,
            sleep=self._sleep,
            reraise=True,
        )
        found: T = trying(self._once, what, attempt)
        return found

    def _once(self, what: str, attempt: Callable[[], T]) -> T:
        try:
            return attempt()
        except Refused as error:
            raise self._told(error, what) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreached(error, what) from None

    def _told(self, error: Refused, what: str) -> BackendError:
        body = self._without_keys(error.body)
        if 200 <= error.status < 300:
            return unreadable(str(body), server=self.server, what=what)
        now = self._clock.now()
        return refusal(error.status, body, error.headers, server=self.server, what=what, now=now)

    def _unreached(self, error: Exception, what: str) -> BackendError:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, socket.gaierror):
            cause = cause.__cause__ or cause.__context__
        if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
            return NotFound(f"there is no host {self.server}; check base_url")
        kind = type(error).__name__
        return Unavailable(
            f"Langfuse at {self.server} could not be asked for {what} ({kind}). Check base_url and "
            "the network, and try again; what was taken is kept."
        )

    def _without_keys(self, body: Any) -> Any:
        """A server may echo what it was sent; keys must not come back in its words."""
        secret = self.settings.secret_key.get_secret_value()
        pair = f"{self.settings.public_key}:{secret}".encode()
        hidden = (secret, base64.b64encode(pair).decode())
        if isinstance(body, dict):
            return {name: self._without_keys(value) for name, value in body.items()}
        if isinstance(body, str):
            for text in hidden:
                body = body.replace(text, "[redacted]")
        return body

    def close(self) -> None:
        """Give the connection back."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def _passes(error: BaseException) -> bool:
    """Whether waiting a bounded while may help."""
    asked: float = getattr(error, "retry_after", None) or 0.0
    return isinstance(error, TransientError) and asked <= _LONGEST_PAUSE


_grow = tenacity.wait_exponential_jitter(initial=1, max=30, jitter=1)


def _pause(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked: float | None = getattr(error, "retry_after", None)
    return asked if asked is not None else _grow(state)
