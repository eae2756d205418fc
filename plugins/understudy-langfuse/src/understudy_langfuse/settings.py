"""``[services.langfuse]``: which project on which server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from understudy.backend import Settings

__all__ = ["LangfuseSettings"]


class LangfuseSettings(Settings):
    """A project's pair of keys and the server it lives on.

    ``base_url`` is the European cloud by default; other regions and servers of one's own have
    theirs. ``timeout`` is for one request, in seconds; ``attempts`` how often one is tried when
    the server is busy or away.
    """

    env: ClassVar[Mapping[str, str]] = {
        "public_key": "LANGFUSE_PUBLIC_KEY",
        "secret_key": "LANGFUSE_SECRET_KEY",
        "base_url": "LANGFUSE_BASE_URL",
        "environment": "LANGFUSE_TRACING_ENVIRONMENT",
    }

    public_key: str = Field(min_length=1)
    secret_key: SecretStr
    base_url: str = "https://cloud.langfuse.com"
    environment: str | None = Field(default=None, pattern=r"^[a-z0-9_-]{1,40}$")
    timeout: float = Field(default=60, gt=0)
    attempts: int = Field(default=6, ge=1, le=20)

    @field_validator("base_url")
    @classmethod
    def _is_a_root(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            message = "is the server's address, such as https://cloud.langfuse.com"
            raise ValueError(message)
        if parts.username or parts.password or parts.query or parts.fragment:
            message = "is an address alone: keys go into public_key and secret_key"
            raise ValueError(message)
        return value.rstrip("/").removesuffix("/api/public")

    @field_validator("environment")
    @classmethod
    def _is_free(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("langfuse"):
            message = "names that begin with langfuse are Langfuse's own; choose another"
            raise ValueError(message)
        return value

    @field_validator("public_key")
    @classmethod
    def _is_public(cls, value: str) -> str:
        if value.startswith("sk-"):
            message = "is a secret key; public_key begins with pk-"
            raise ValueError(message)
        return value
