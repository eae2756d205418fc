"""Whether an answer may enter the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from understudy.batch.recipe import Check
from understudy.data import answer_text
from understudy.errors import ConfigError
from understudy.evaluate import Scorer
from understudy.model import ChatReply

__all__ = ["Checker", "make_checker"]

Checker = Callable[[ChatReply, str | None], str | None]
"""A reply and its reference (if one is known) -> why it may not enter, or None."""

_REMEMBERED = 100_000
"""Answers whose verdict is remembered: short answers repeat."""


def make_checker(check: Check, scorer: Scorer | None) -> Checker:
    """The checks of a recipe as one function.

    Args:
        check: the recipe's section.
        scorer: the scorer that it names.

    Raises:
        ConfigError: the JSON schema is none.
    """
    schema = _schema_check(check.json_schema) if isinstance(check.json_schema, dict) else None

    def checked(reply: ChatReply, reference: str | None) -> str | None:
        if reply.finish_reason == "length" and not check.allow_cut:
            return "it was cut at max_output_tokens"
        if schema is None and (scorer is None or reference is None):
            return None
        text = answer_text(reply.message)
        wrong = schema(text) if schema is not None else None
        if wrong is None and scorer is not None and reference is not None:
            score = scorer(text, reference)
            if score < check.bar:
                return f"it scores {score:g} against its reference, below {check.bar:g}"
        return wrong

    return checked


def _schema_check(schema: Mapping[str, Any]) -> Callable[[str], str | None]:
    import jsonschema_rs

    try:
        validator = jsonschema_rs.validator_for(dict(schema))
    except (ValueError, jsonschema_rs.ValidationError) as error:
        raise ConfigError(f"[check.json_schema] is no JSON schema: {error}") from None
    seen: dict[str, str | None] = {}

    def check(text: str) -> str | None:
        if text in seen:
            return seen[text]
        wrong: str | None
        try:
            value = orjson.loads(text)
        except ValueError:
            wrong = "it is not JSON"
        else:
            # Only where in the schema: the message would quote the answer.
            error = next(iter(validator.iter_errors(value)), None)
            path = "" if error is None else "/".join(str(part) for part in error.schema_path)
            wrong = None if error is None else f"it does not fit the JSON schema at {path}"
        if len(seen) < _REMEMBERED:
            seen[text] = wrong
        return wrong

    return check
