"""Tokens as Entra gives them: JSON Web Tokens, signed with a secret of this sandbox."""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson

from understudy_sandbox.azure.settings import CLIENT_ID, OBJECT_ID, TENANT

if TYPE_CHECKING:
    from understudy_sandbox.provider import Provider

DATA_AUDIENCES = frozenset(
    {
        "https://cognitiveservices.azure.com",
        "https://ai.azure.com",
        "https://ml.azure.com",
    }
)
ARM_AUDIENCES = frozenset(
    {
        "https://management.azure.com",
        "https://management.core.windows.net",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Exception):  # noqa: N818 - a verdict on a token, not an error of this program
    """Why a token is not taken: ``invalid``, ``expired`` or ``audience``."""

    why: str


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _secret(provider: Provider) -> bytes:
    return str(provider.state.settle("entra_secret", lambda: secrets.token_hex(32))).encode()


def _signature(provider: Provider, signed: str) -> str:
    return _text(hmac.new(_secret(provider), signed.encode(), sha256).digest())


def issue(provider: Provider, audience: str) -> tuple[str, int]:
    """A token for an audience, and how many sandbox seconds it lives."""
    now = int(provider.clock.now())
    life = int(provider.config.azure.token_seconds)
    claims = {
        "aud": audience,
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": now,
        "nbf": now,
        "exp": now + life,
        "appid": CLIENT_ID,
        "oid": OBJECT_ID,
        "tid": TENANT,
        "jti": secrets.token_hex(8),
    }
    head = _text(orjson.dumps({"typ": "JWT", "alg": "HS256"}))
    signed = f"{head}.{_text(orjson.dumps(claims))}"
    return f"{signed}.{_signature(provider, signed)}", life


def verify(provider: Provider, token: str, audiences: frozenset[str]) -> dict[str, Any]:
    """The claims of a token.

    Raises:
        Refused: it is none of this sandbox's, it has expired, or it is for something else.
    """
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature, _signature(provider, signed)):
        raise Refused(why="invalid")
    body = signed.partition(".")[2]
    claims: dict[str, Any] = orjson.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    if claims["exp"] <= provider.clock.now():
        raise Refused(why="expired")
    if claims["aud"].rstrip("/") not in audiences:
        raise Refused(why="audience")
    return claims
