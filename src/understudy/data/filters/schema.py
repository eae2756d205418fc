"""Answers that must be JSON of a certain shape, held against the schema by jsonschema-rs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
from pydantic import Field, model_validator

from understudy.backend import Params
from understudy.data.filters.texts import text_of
from understudy.model import Conversation, Drop

__all__ = ["Schema"]


class Schema:
    """The answer does not fit the task's JSON schema.

    ``json_schema`` is the schema itself, or ``file`` holds it. With ``tool``, the arguments of the
    answer's calls of that tool are looked at instead of its text; an answer without such a call
    does not fit.
    """

    class Options(Params):
        json_schema: dict[str, Any] | None = None
        file: Path | None = Field(default=None, exclude=True)
        tool: str | None = None

        @model_validator(mode="after")
        def _has_a_schema(self) -> Schema.Options:
            found = self.json_schema
            if (found is None) == (self.file is None):
                message = "give json_schema, or file with its path"
                raise ValueError(message)
            if self.file is not None:
                try:
                    found = orjson.loads(self.file.read_bytes())
                except (OSError, orjson.JSONDecodeError) as error:
                    message = f"{self.file} is not a JSON schema that can be read: {error}"
                    raise ValueError(message) from None
            try:
                jsonschema_rs.validator_for(found or {})
            except (jsonschema_rs.ValidationError, ValueError, TypeError) as error:
                message = f"not a JSON schema: {str(error).partition(chr(10))[0]}"
                raise ValueError(message) from None
            # What the file said is part of what was asked for, its place is not.
            return self.model_copy(update={"json_schema": found, "file": None})

    def __init__(self, *, options: Options) -> None:
        self._tool = options.tool
        self._fits = jsonschema_rs.validator_for(options.json_schema or {})

    def check(self, row: Conversation) -> Drop | None:
        if self._tool is None:
            return self._one(text_of(row.answer), "answer")
        calls = [
            call["function"]["arguments"]
            for call in row.answer.get("tool_calls") or ()
            if call["function"]["name"] == self._tool
        ]
        if not calls:
            return Drop(message=f"it does not call {self._tool}", place="answer.tool_calls")
        for call in calls:
            found = self._one(call, "answer.tool_calls")
            if found:
                return found
        return None

    def _one(self, text: str, place: str) -> Drop | None:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return Drop(message="is not JSON", place=place)
        error = next(self._fits.iter_errors(value), None)
        if error is None:
            return None
        inside = ".".join(str(step) for step in error.instance_path)
        return Drop(
            message="does not fit the schema", place=f"{place}.{inside}" if inside else place
        )
