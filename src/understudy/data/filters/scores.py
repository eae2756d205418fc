"""What somebody or something thought of the answer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from understudy.backend import Params
from understudy.model import Conversation, Drop

__all__ = ["Hallucination", "Score"]


class Score:
    """The logged score ``name`` is below ``least`` or above ``most``.

    Rows without the score stay unless ``missing`` is "drop".
    """

    class Options(Params):
        name: str = Field(min_length=1)
        least: float | None = None
        most: float | None = None
        missing: Literal["keep", "drop"] = "keep"

        @model_validator(mode="after")
        def _has_a_bound(self) -> Score.Options:
            if self.least is None and self.most is None:
                message = "give least, most or both"
                raise ValueError(message)
            return self

    def __init__(self, *, options: Options) -> None:
        self._options = options

    def check(self, row: Conversation) -> Drop | None:
        options = self._options
        place = f"scores.{options.name}"
        value = row.scores.get(options.name)
        if value is None:
            if options.missing == "drop":
                return Drop(message="has no such score", place=place, reason="unscored")
            return None
        if options.least is not None and value < options.least:
            return Drop(message=f"is below {options.least:g}", place=place, reason="low_score")
        if options.most is not None and value > options.most:
            return Drop(message=f"is above {options.most:g}", place=place, reason="high_score")
        return None


class Hallucination:
    """A score or a flag says that the answer was made up.

    ``score`` is high where it was (``most``), or low where ``least`` is given instead, as for
    faithfulness. ``flags`` are words of the log's ``flags`` that mean the same.
    """

    class Options(Params):
        score: str = "hallucination"
        most: float | None = 0.5
        least: float | None = None
        flags: tuple[str, ...] = ("hallucination", "hallucinated")

    def __init__(self, *, options: Options) -> None:
        self._options = options

    def check(self, row: Conversation) -> Drop | None:
        options = self._options
        if any(flag in options.flags for flag in row.flags):
            return Drop(message="it is flagged", place="flags")
        value = row.scores.get(options.score)
        if value is None:
            return None
        high = options.least is None and options.most is not None and value > options.most
        low = options.least is not None and value < options.least
        if high or low:
            return Drop(message=f"the score is {value:g}", place=f"scores.{options.score}")
        return None
