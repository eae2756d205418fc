"""The wire: the only file that imports the SDK. Every failure leaves it as one of our errors."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from json import JSONDecodeError
from typing import Any, TypeVar

import httpx
import orjson
import pydantic
import tenacity
from langfuse.api.client import LangfuseAPI
from langfuse.api.core.api_error import ApiError

from understudy.backend import Clock
from understudy.errors import BackendError, InvalidData, NotFound, TransientError, Unavailable
from understudy_langfuse.settings import LangfuseSettings
from understudy_langfuse.wire_errors import refusal, unreadable

__all__ = ["Connection", "LangfuseAPI"]

T = TypeVar("T")

_LONGEST_PAUSE = 120.0  # seconds; what asks for more is for the caller to come back to


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
        self._settings, self._clock, self._sleep = settings, clock, sleep
        self._opened: tuple[httpx.Client, LangfuseAPI] | None = None

    @property
    def server(self) -> str:
        """The address, for messages."""
        return self._settings.base_url

    def ask(self, what: str, call: Callable[[LangfuseAPI], T], *, attempts: int | None = None) -> T:
        """What ``call`` gives; tried again while the server is busy or away.

        Args:
            what: what is asked for, for messages.
            call: one request; it must be safe to repeat.
            attempts: how often; default: the settings'.

        Raises:
            BackendError: it was refused, or the patience has run out.
        """
        trying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_passes),
            stop=tenacity.stop_after_attempt(attempts or self._settings.attempts),
            wait=_pause,
            sleep=self._sleep,
            reraise=True,
        )
        found: T = trying(self._once, what, call)
        return found

    def post_spans(
        self, spans: Sequence[Mapping[str, Any]], *, attempts: int | None = None
    ) -> None:
        """Send spans in OTLP's JSON form. A span that is sent again takes the place of the first.

        The SDK's own method for this knows no lists in attributes, which tags are.

        Raises:
            InvalidData: the server refused some of them, or the request.
            BackendError: as ``ask``.
        """
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "understudy"}}]}
        group = {"scope": {"name": "understudy"}, "spans": list(spans)}
        body = {"resourceSpans": [{"resource": resource, "scopeSpans": [group]}]}
        reply = self.ask("OTLP traces", lambda _: self._post(body), attempts=attempts)
        refused = (reply.get("partialSuccess") or {}).get("rejectedSpans")
        if refused and int(refused):
            raise InvalidData(f"Langfuse at {self.server} refused {refused} of {len(spans)} spans")

    def _post(self, body: Mapping[str, Any]) -> dict[str, Any]:
        http, _ = self._open()
        secret = self._settings.secret_key.get_secret_value()
        reply = http.post(
            f"{self.server}/api/public/otel/v1/traces",
            content=orjson.dumps(body),
            auth=(self._settings.public_key, secret),
            headers={
                "content-type": "application/json",
                "x-langfuse-ingestion-version": "4",
                "x-langfuse-public-key": self._settings.public_key,
                "x-langfuse-sdk-name": "understudy",
            },
        )
        if not reply.is_success:
            try:
                said = reply.json()
            except JSONDecodeError:
                said = reply.text
            raise ApiError(status_code=reply.status_code, headers=dict(reply.headers), body=said)
        if not reply.content:
            return {}
        found = reply.json()
        return found if isinstance(found, dict) else {}

    def _once(self, what: str, call: Callable[[LangfuseAPI], T]) -> T:
        try:
            return call(self._open()[1])
        except ApiError as error:
            raise self._refused(error, what) from None
        except pydantic.ValidationError as error:
            # The values may be rows: only the places are told.
            places = sorted({".".join(map(str, one["loc"])) for one in error.errors()})[:3]
            raise InvalidData(
                f"Langfuse at {self.server} gave {what} in a form that langfuse's SDK does not "
                f"know ({', '.join(places)}). Upgrade it: pip install --upgrade understudy-langfuse"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, JSONDecodeError) as error:
            raise self._unreached(error, what) from None

    def _refused(self, error: ApiError, what: str) -> BackendError:
        status = error.status_code or 0
        body = self._without_keys(error.body)
        if 200 <= status < 300:
            return unreadable(str(body), server=self.server, what=what)
        return refusal(
            status,
            body,
            error.headers or {},
            server=self.server,
            what=what,
            now=self._clock.now(),
        )

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

    def _without_keys(self, body: object) -> object:
        """A server may echo what it was sent; keys must not come back in its words."""
        secret = self._settings.secret_key.get_secret_value()
        pair = f"{self._settings.public_key}:{secret}".encode()
        hidden = (secret, base64.b64encode(pair).decode())
        if isinstance(body, dict):
            return {name: self._without_keys(value) for name, value in body.items()}
        if isinstance(body, str):
            for text in hidden:
                body = body.replace(text, "[redacted]")
        return body

    def _open(self) -> tuple[httpx.Client, LangfuseAPI]:
        if self._opened is None:
            # Redirects would take the keys along: an address that moves on is told instead.
            http = httpx.Client(timeout=self._settings.timeout, follow_redirects=False)
            api = LangfuseAPI(
                base_url=self.server,
                username=self._settings.public_key,
                password=self._settings.secret_key.get_secret_value(),
                x_langfuse_public_key=self._settings.public_key,
                x_langfuse_sdk_name="understudy",
                timeout=self._settings.timeout,
                httpx_client=http,
            )
            self._opened = http, api
        return self._opened

    def close(self) -> None:
        """Give the connection back."""
        if self._opened is not None:
            self._opened[0].close()
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
