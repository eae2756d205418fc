"""Where the endpoint is and who is asking."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from understudy.backend import Settings

__all__ = ["DEFAULT_BASE_URL", "OpenAISettings", "WireSettings", "is_loopback", "web_address"]

DEFAULT_BASE_URL = "https://api.openai.com/v1"


def is_loopback(url: str) -> bool:
    """Whether ``url`` leads to this machine alone."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def web_address(value: str) -> str:
    """``value`` without the last slash. Raises ValueError: it is no plain http(s) address."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        message = "not an http(s) address; write it like https://host/v1"
        raise ValueError(message)
    if parts.username or parts.password or parts.query or parts.fragment:
        message = "no user, password, query or fragment may stand in it; the key is api_key"
        raise ValueError(message)
    return value.rstrip("/")


class WireSettings(Settings):
    """What every server of this wire is told: a key and patience.

    ``request_timeout`` bounds one request in seconds, all its phases together, and stays under
    the 60 s that ``Capabilities.request_timeout`` promises to the engine. ``upload_timeout`` is
    the longest the server may be silent while a file is sent, in seconds.
    ``batch_enqueued_tokens`` are the account's limits on enqueued prompt tokens, by model, base
    model or deployment, ``*`` for all others. Where nothing tells, only batches that fail do.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    api_key: SecretStr | None = None
    request_timeout: float = Field(default=45.0, gt=0, le=60)
    upload_timeout: float = Field(default=600.0, gt=0)
    batch_enqueued_tokens: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)

    @field_validator("api_key")
    @classmethod
    def _can_be_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        text = value.get_secret_value().strip()
        if not text:
            return None
        if not text.isascii() or not text.isprintable() or " " in text:
            message = "the key holds characters that no key has; copy it again"
            raise ValueError(message)
        return SecretStr(text)


class OpenAISettings(WireSettings):
    """Settings of ``[backends.openai]``.

    ``usage_tier``, 1 to 5, stands for the published limits of that tier on enqueued tokens.
    """

    env: ClassVar[Mapping[str, str]] = {
        "api_key": "OPENAI_API_KEY",
        "base_url": "OPENAI_BASE_URL",
        "organization": "OPENAI_ORG_ID",
        "project": "OPENAI_PROJECT_ID",
    }

    base_url: str = DEFAULT_BASE_URL
    organization: str | None = None
    project: str | None = None
    allow_http: bool = False
    usage_tier: int | None = Field(default=None, ge=1, le=5)

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        return web_address(value)

    @model_validator(mode="after")
    def _is_private(self) -> Self:
        plain = urlsplit(self.base_url).scheme == "http"
        if plain and not self.allow_http and not is_loopback(self.base_url):
            message = (
                "base_url is plain http to another machine, so the key and the rows could be "
                "read on the way; use https, or set allow_http = true if the network is yours"
            )
            raise ValueError(message)
        return self
