"""Listening with TLS: the certificate that was given, or a throw-away authority of this state."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How to listen with TLS beside plain HTTP.

    Attributes:
        port: port; 0 picks a free one.
        cert: PEM file of the certificate chain; None makes a throw-away authority.
        key: PEM file of its key; None where the certificate's file holds it too.
    """

    port: int = 0
    cert: Path | None = None
    key: Path | None = None


def context(tls: Tls, folder: Path) -> tuple[ssl.SSLContext, Path]:
    """The server's context, and the file that clients must trust.

    Args:
        tls: what was asked for.
        folder: state folder; a throw-away authority is kept there, so that a restart has it too.

    Raises:
        ValueError: the certificate cannot be used, or there is none and no ``trustme`` either.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if tls.cert is not None:
        try:
            made.load_cert_chain(tls.cert, tls.key)
        except OSError as error:
            raise ValueError(
                f"--tls-cert {tls.cert} and its key cannot be used: {error.strerror or error}; "
                "give PEM files that belong together"
            ) from None
        return made, tls.cert
    chain, authority = folder / "tls" / "server.pem", folder / "tls" / "ca.pem"
    if not authority.exists():
        _throw_away(chain, authority)
    made.load_cert_chain(chain)
    return made, authority


def _throw_away(chain: Path, authority: Path) -> None:
    try:
        import trustme
    except ModuleNotFoundError:
        raise ValueError(
            "--tls makes a throw-away certificate with trustme, which is not installed: "
            "pip install 'understudy-sandbox[tls]', or give --tls-cert and --tls-key"
        ) from None
    chain.parent.mkdir(parents=True, exist_ok=True)
    ca = trustme.CA(organization_name="understudy sandbox")
    leaf = ca.issue_cert(*_HOSTS)
    chain.touch(mode=0o600)
    leaf.private_key_and_cert_chain_pem.write_to_path(str(chain))
    # Last: a start that was cut off before here makes both again.
    ca.cert_pem.write_to_path(str(authority))
