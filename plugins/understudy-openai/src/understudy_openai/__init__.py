"""OpenAI fine-tuning as an Understudy backend; also drives any OpenAI-compatible server.

The public names are for plugins that speak the same wire (Azure does). They are loaded when they
are first asked for, so that importing this package costs nothing and needs no SDK.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy_openai.backend import OpenAIBackend
    from understudy_openai.params import (
        Limits,
        ModelRule,
        OpenAIParams,
        check_spec,
        create_body,
        estimate,
    )
    from understudy_openai.redaction import redact
    from understudy_openai.settings import OpenAISettings, is_loopback
    from understudy_openai.wire import BatchStatus, FileRecord, ModelRecord
    from understudy_openai.wire_chat import chat_body, chat_reply
    from understudy_openai.wire_errors import Failure, to_error

__all__ = [
    "BatchStatus",
    "Failure",
    "FileRecord",
    "Limits",
    "ModelRecord",
    "ModelRule",
    "OpenAIBackend",
    "OpenAIParams",
    "OpenAISettings",
    "chat_body",
    "chat_reply",
    "check_spec",
    "create_body",
    "estimate",
    "is_loopback",
    "redact",
    "to_error",
]

_HOMES = {
    "backend": ("OpenAIBackend",),
    "params": ("Limits", "ModelRule", "OpenAIParams", "check_spec", "create_body", "estimate"),
    "redaction": ("redact",),
    "settings": ("OpenAISettings", "is_loopback"),
    "wire": ("BatchStatus", "FileRecord", "ModelRecord"),
    "wire_chat": ("chat_body", "chat_reply"),
    "wire_errors": ("Failure", "to_error"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return [*__all__]
