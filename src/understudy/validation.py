"""Turn untrusted mappings into typed models, with errors that name the field and the fix."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from understudy.errors import ConfigError

__all__ = ["duration", "nearest", "parse", "read_toml"]

M = TypeVar("M", bound=BaseModel)

# How pydantic names the members of a union of plain values at the end of a place.
_MEMBER = re.compile(r"(constrained-)?(int|float|str|bool)|literal\[.*\]")


def nearest(name: str, valid: Iterable[str]) -> str:
    """Words that follow an unknown name: the nearest valid one, then all of them."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}Valid: {', '.join(names) or 'none'}."


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def duration(text: str) -> float:
    """Seconds of ``90s``, ``30m``, ``12h``, ``7d`` or ``2w``.

    Raises:
        ConfigError: it is written otherwise.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip().lower())
    if found is None:
        raise ConfigError(f"{text!r} is no duration; write it like 30m, 12h or 7d")
    return float(found[1]) * _SECONDS[found[2]]


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a mapping.

    Raises:
        ConfigError: the file is absent, not UTF-8, or not TOML; syntax errors name the line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file; `understudy init {path}` writes a commented recipe"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def parse(model: type[M], data: Mapping[str, Any], *, where: str) -> M:
    """``data`` as ``model``.

    Args:
        model: a pydantic model.
        data: what was read.
        where: the file or section, for the message.

    Raises:
        ConfigError: one line for each thing that is wrong, with its field; an unknown name is
            answered with the nearest valid one. Values of secret fields never appear.
    """
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        lines: dict[str, list[str]] = {}
        for item in error.errors(include_url=False):
            place, words = _words(model, item)
            lines.setdefault(f"[{place}] " if place else "", []).append(words)
        told = (place + ", or ".join(words) for place, words in lines.items())
        raise ConfigError(f"{where}: " + "; ".join(told)) from None


def _words(model: type[BaseModel], item: Any) -> tuple[str, str]:
    parts = [str(part) for part in item["loc"]]
    if item["type"] == "extra_forbidden":
        *parents, name = item["loc"]
        valid = _fields(model, parents)
        return ".".join(parts), f"is not a known name: {nearest(str(name), valid)}"
    if len(parts) > 1 and _MEMBER.fullmatch(parts[-1]):
        parts.pop()
    return ".".join(parts), item["msg"].removeprefix("Value error, ")


def _fields(model: type[BaseModel], path: Iterable[Any]) -> list[str]:
    """Field names of the model at ``path`` inside ``model``; tags of unions are passed over."""
    current: Any = model
    for part in path:
        info = getattr(current, "model_fields", {}).get(part)
        if info is None:
            continue
        current = _model_in(info.annotation)
    return list(getattr(current, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None
