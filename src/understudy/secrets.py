"""What looks like a secret, and how it is blotted out of text that is kept or shown."""

from __future__ import annotations

import re

__all__ = ["looks_secret", "redact"]

_PATTERNS = (
    r"\bsk-[A-Za-z0-9_-]{8,}",
    r"\b(?i:bearer)\s+[A-Za-z0-9._~+/=-]{8,}",
    r"\b(?i:sig|signature|sas|token|\w*[-_]?key|password|secret)=[^&\s\"']{6,}",
    r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*",
    r"(?<=://)[^/\s:@]*:(?!\*+@)[^/\s@]+(?=@)",
)
_SECRET = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS))
_QUERY = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']+")


def looks_secret(text: str) -> bool:
    """Whether ``text`` holds something in the shape of a key, token, password or SAS."""
    return _SECRET.search(text) is not None


def redact(text: str, *known: str) -> str:
    """``text`` without URL queries, without what looks like a secret, and without ``known``."""
    for value in known:
        if value:
            text = text.replace(value, "[redacted]")
    return _SECRET.sub("[redacted]", _QUERY.sub(r"\1?[redacted]", text))
