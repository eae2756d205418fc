"""Prompt templates: Jinja in its sandbox, compiled once; plain ones without Jinja at all.

A template that only puts fields between texts (``Hello {{ name }}``) is most of them, and Jinja
takes ten times as long for it as joining strings. Such a one is joined here; what Jinja would
make of a row is the same text, which ``tests/unit/batch/test_prompts.py`` holds by properties.
Null is absent, as in fingerprints; an absent field is an error, never an empty text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import SandboxedEnvironment

from understudy.errors import ConfigError, DataError

__all__ = ["Prompt", "render_slowly"]

_PLAIN = (str, int, float, bool)
_MISSING = "the row has no such field (or it is null); add it, or guard it in the template"


@lru_cache(maxsize=1)
def _environment() -> SandboxedEnvironment:
    return SandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )


class Prompt:
    """One compiled template.

    Args:
        template: the Jinja source.
        where: its place in the recipe, for messages.

    Raises:
        ConfigError: the template is no Jinja.
    """

    def __init__(self, template: str, *, where: str) -> None:
        self.template = template
        try:
            parsed = _environment().parse(template)
        except TemplateSyntaxError as error:
            raise ConfigError(f"{where}: line {error.lineno}: {error.message}") from None
        self._parts = _plain_parts(parsed)
        self.constant = self._parts is not None and all(not name for _, name in self._parts)
        self.render: Callable[[Mapping[str, Any]], str] = (
            _joined(self._parts, template)
            if self._parts
            else lambda row: render_slowly(template, row)
        )

    @property
    def plain(self) -> bool:
        """Whether rows are joined without Jinja."""
        return self._parts is not None


def render_slowly(template: str, row: Mapping[str, Any]) -> str:
    """What Jinja makes of ``row``.

    Raises:
        DataError: a field is missing, or the template breaks on this row.
    """
    made = _compiled(template)
    try:
        return str(made.render({name: value for name, value in row.items() if value is not None}))
    except UndefinedError as error:
        raise DataError(f"{error.message}; {_MISSING}") from None
    except (SecurityError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        # Without its words: they may quote the row.
        raise DataError(f"the template breaks on this row ({type(error).__name__})") from None


@lru_cache(maxsize=64)
def _compiled(template: str) -> Any:
    return _environment().from_string(template)


def _plain_parts(parsed: nodes.Template) -> list[tuple[str, str]] | None:
    """(text, field) pairs, the field "" at the end of all; None where there is more to it."""
    parts: list[tuple[str, str]] = []
    text = ""
    for node in parsed.body:
        if not isinstance(node, nodes.Output):
            return None
        for item in node.nodes:
            if isinstance(item, nodes.TemplateData):
                text += item.data
            elif isinstance(item, nodes.Name) and item.ctx == "load":
                parts.append((text, item.name))
                text = ""
            else:
                return None
    return [*parts, (text, "")]


def _joined(parts: Sequence[tuple[str, str]], template: str) -> Callable[[Mapping[str, Any]], str]:
    if len(parts) == 1:
        constant = parts[0][0]
        return lambda _row: constant
    if len(parts) == 2:
        return _one_field(parts[0], parts[1][0], template)

    def render(row: Mapping[str, Any]) -> str:
        made: list[str] = []
        for text, name in parts:
            made.append(text)
            if name:
                value = row.get(name)
                if type(value) is not str:
                    if type(value) not in _PLAIN:
                        return render_slowly(template, row)
                    value = str(value)
                made.append(value)
        return "".join(made)

    return render


def _one_field(
    first: tuple[str, str], after: str, template: str
) -> Callable[[Mapping[str, Any]], str]:
    before, name = first

    def render(row: Mapping[str, Any]) -> str:
        value = row.get(name)
        if type(value) is str:
            return before + value + after
        if type(value) in _PLAIN:
            return f"{before}{value}{after}"
        return render_slowly(template, row)

    return render
