"""Requests to the provider through the SDK: the only file that imports it."""

from __future__ import annotations

import json
import threading
from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
import openai
from pydantic import SecretStr

from understudy import backend as contract
from understudy.backend import Clock
from understudy.errors import AuthError, BackendError
from understudy.model import Json
from understudy_openai import lists, wire
from understudy_openai.settings import is_loopback
from understudy_openai.uploads import Uploader
from understudy_openai.wire_errors import Failure, failure_of, to_error

__all__ = ["Connection", "timeouts"]

_PAGE = 100
T = TypeVar("T")


def timeouts(total: float, *, read: float | None = None) -> httpx2.Timeout:
    """Phases that together stay under ``total`` seconds; ``read`` sets that phase apart."""
    phase = min(5.0, total / 6)
    return httpx2.Timeout(
        connect=phase, pool=phase, write=phase, read=total - 3 * phase if read is None else read
    )


class Connection(contract.Backend, ABC):
    """One provider's client, made at first use and shared by all threads."""

    upload_sizes: Mapping[str, int] = {}
    verb_options: Mapping[str, Any] = {}
    settings: Any

    def __init__(self, *, name: str, settings: Any, clock: Clock) -> None:
        super().__init__(name=name, settings=settings, clock=clock)
        self._lock = threading.Lock()
        self._made: openai.OpenAI | None = None

    # -- what a relative of this wire overrides ------------------------------------------------

    def make_client(self) -> openai.OpenAI:
        """A client without retries. Called once, at the first request."""
        key: SecretStr | None = self.settings.api_key
        if key is None:
            raise AuthError(
                f"backend {self.name!r} has no API key. Set OPENAI_API_KEY, or name another "
                f"variable: api_key_env in [backends.{self.name}] of understudy.toml."
            )
        return openai.OpenAI(
            api_key=key.get_secret_value(),
            base_url=self.settings.base_url,
            organization=self.settings.organization,
            project=self.settings.project,
            max_retries=0,
            timeout=timeouts(self.settings.request_timeout),
            http_client=self.transport(),
        )

    def transport(self) -> httpx2.Client:
        """The connection pool. Redirects are not followed; loopback never goes by a proxy."""
        return openai.DefaultHttpxClient(
            follow_redirects=False, trust_env=not is_loopback(self.settings.base_url)
        )

    def secrets(self) -> tuple[str, ...]:
        """Strings that must not appear in any message."""
        key: SecretStr | None = self.settings.api_key
        return (key.get_secret_value(),) if key else ()

    def error(self, failure: Failure, *, what: str, paid: bool) -> BackendError:
        """What to raise for ``failure`` of a request of this backend."""
        return to_error(failure, what=what, paid=paid, secrets=self.secrets())

    # -- requests ------------------------------------------------------------------------------

    @property
    def client(self) -> Any:
        """The SDK's client, made at first use and shared by all threads."""
        with self._lock:
            if self._made is None:
                self._made = self.make_client()
            return self._made

    @property
    def host(self) -> str:
        """Where requests go, for messages and sources."""
        return urlsplit(str(self.settings.base_url)).hostname or ""

    def call(
        self, what: str, method: Callable[..., Any], /, *, paid: bool = False, **kwargs: Any
    ) -> Json:
        """One request. ``what`` completes *could not ...* in messages.

        Raises:
            OutcomeUnknown: it is ``paid`` and may have taken effect.
            BackendError: it was refused or failed.
        """
        where = f"{what} at {self.host}"
        try:
            response = method(**kwargs).http_response
            body = json.loads(response.content)
        except (openai.OpenAIError, openai.InvalidWebhookSignatureError) as error:
            failure = failure_of(error)
        except (UnicodeDecodeError, json.JSONDecodeError):
            failure = Failure(kind="reply", status=response.status_code, message="it is not JSON")
        else:
            if isinstance(body, dict | list):
                return body
            failure = Failure(kind="reply", status=response.status_code, message="not an object")
        raise self.error(failure, what=where, paid=paid) from None

    @contextmanager
    def streaming(self, what: str, method: Callable[..., Any], /, **kwargs: Any) -> Iterator[Any]:
        """The reply of one request, whose body comes piece by piece.

        Raises:
            BackendError: it was refused or broke off.
        """
        try:
            with method(**kwargs) as reply:
                yield reply
        except openai.OpenAIError as error:
            failure = failure_of(error)
        except httpx2.HTTPError as error:
            slow = isinstance(error, httpx2.TimeoutException)
            failure = Failure(kind="timeout" if slow else "connection")
        else:
            return
        raise self.error(failure, what=f"{what} at {self.host}", paid=False) from None

    def read(self, what: str, parse: Callable[[Json], T], body: Json, *, paid: bool = False) -> T:
        """``parse(body)``, where a body that lacks what it must have is trouble of the server."""
        try:
            return parse(body)
        except ValueError as error:
            failure = Failure(kind="reply", message=str(error))
        raise self.error(failure, what=f"{what} at {self.host}", paid=paid) from None

    def pages(self, what: str, method: Callable[..., Any], /, **kwargs: Any) -> Iterator[Json]:
        """The pages of a list in the provider's order, until it says or shows that it ended."""

        def fetch(after: str | None) -> Json:
            cursor = {} if after is None else {"after": after}
            return self.call(what, method, **{"limit": _PAGE, **kwargs, **cursor})

        return lists.walk(fetch, what=f"{what} at {self.host}")

    def uploader(self) -> Uploader:
        """What sends files, with the patience that they need."""
        patience = timeouts(
            float(self.settings.request_timeout), read=float(self.settings.upload_timeout)
        )

        def call(what: str, method: Callable[..., Any], /, **kwargs: Any) -> Json:
            return self.call(what, method, timeout=patience, **kwargs)

        return Uploader(self.client, call, **self.upload_sizes)

    def file(self, name: str) -> wire.FileRecord:
        """What the provider says of a file."""
        what, retrieve = f"look at file {name}", self.client.files.with_raw_response.retrieve
        return self.read(what, wire.file_record, self.call(what, retrieve, file_id=name))

    def close(self) -> None:
        """Close the connection pool."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()
