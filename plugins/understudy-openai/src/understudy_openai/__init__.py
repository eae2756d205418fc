"""OpenAI fine-tuning as an Understudy backend; also drives any OpenAI-compatible server.

The public names are for plugins that speak the same wire (Azure does), as are those of the modules
``wire`` and ``wire_values``. They are loaded when they are first asked for, so that importing this
package costs nothing and needs no SDK.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy_openai.backend import OpenAIBackend
    from understudy_openai.batch_limits import enqueued_tokens
    from understudy_openai.connection import timeouts
    from understudy_openai.doctor import Asker
    from understudy_openai.params import (
        Limits,
        ModelRule,
        OpenAIParams,
        WireParams,
        check_spec,
        create_body,
        default_epochs,
        estimate,
        rule_for,
    )
    from understudy_openai.redaction import redact
    from understudy_openai.settings import (
        OpenAISettings,
        WireSettings,
        is_loopback,
        web_address,
    )
    from understudy_openai.uploads import file_name
    from understudy_openai.wire import FileRecord, ModelRecord
    from understudy_openai.wire_chat import chat_body, chat_reply
    from understudy_openai.wire_errors import Failure, retry_after, to_error

__all__ = [
    "Asker",
    "Failure",
    "FileRecord",
    "Limits",
    "ModelRecord",
    "ModelRule",
    "OpenAIBackend",
    "OpenAIParams",
    "OpenAISettings",
    "WireParams",
    "WireSettings",
    "chat_body",
    "chat_reply",
    "check_spec",
    "create_body",
    "default_epochs",
    "enqueued_tokens",
    "estimate",
    "file_name",
    "is_loopback",
    "redact",
    "retry_after",
    "rule_for",
    "timeouts",
    "to_error",
    "web_address",
]

_HOMES = {
    "backend": ("OpenAIBackend",),
    "batch_limits": ("enqueued_tokens",),
    "connection": ("timeouts",),
    "doctor": ("Asker",),
    "params": (
        "Limits",
        "ModelRule",
        "OpenAIParams",
        "WireParams",
        "check_spec",
        "create_body",
        "default_epochs",
        "estimate",
        "rule_for",
    ),
    "redaction": ("redact",),
    "settings": ("OpenAISettings", "WireSettings", "is_loopback", "web_address"),
    "uploads": ("file_name",),
    "wire": ("FileRecord", "ModelRecord"),
    "wire_chat": ("chat_body", "chat_reply"),
    "wire_errors": ("Failure", "retry_after", "to_error"),
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
