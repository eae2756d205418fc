"""Langfuse's SDK, the only file that imports it: for what it knows better than a plain request."""

from __future__ import annotations

from collections.abc import Callable
from json import JSONDecodeError
from typing import TypeVar

import pydantic
from langfuse.api.client import LangfuseAPI
from langfuse.api.core.api_error import ApiError

from understudy.errors import InvalidData
from understudy_langfuse.connection import Connection, Refused

__all__ = ["LangfuseAPI", "Sdk"]

T = TypeVar("T")


class Sdk(Connection):
    """A project, asked through the SDK's client; patience and errors are the connection's."""

    _made: LangfuseAPI | None = None

    @property
    def api(self) -> LangfuseAPI:
        """The SDK's client, on this connection."""
        if self._made is None:
            self._made = LangfuseAPI(
                base_url=self.server,
                username=self.settings.public_key,
                password=self.settings.secret_key.get_secret_value(),
                x_langfuse_public_key=self.settings.public_key,
                x_langfuse_sdk_name="understudy",
                timeout=self.settings.timeout,
                httpx_client=self.http,
            )
        return self._made

    def ask(self, what: str, call: Callable[[LangfuseAPI], T]) -> T:
        """What ``call`` gives; it must be safe to repeat, and have the SDK's own retries off.

        Args:
            what: what is asked for, for messages.
            call: one request.

        Raises:
            BackendError: it was refused, or the patience has run out.
        """
        return self.patiently(what, lambda: self._called(call, what))

    def _called(self, call: Callable[[LangfuseAPI], T], what: str) -> T:
        try:
            return call(self.api)
        except ApiError as error:
            raise Refused(error.status_code or 0, error.body, error.headers or {}) from None
        except JSONDecodeError as error:
            raise Refused(200, error.doc, {}) from None
        except pydantic.ValidationError as error:
            # The values may be rows: only the places are told.
            places = sorted({".".join(map(str, one["loc"])) for one in error.errors()})[:3]
            raise InvalidData(
                f"Langfuse at {self.server} gave {what} in a form that its SDK does not know "
                f"({', '.join(places)}). Upgrade it: pip install --upgrade understudy-langfuse"
            ) from None
