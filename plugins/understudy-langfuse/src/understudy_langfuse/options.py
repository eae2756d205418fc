"""``[source.options]`` of a recipe: which calls are taken from the project."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import Field, field_validator

from understudy.backend import Params

__all__ = ["LangfuseOptions"]


class LangfuseOptions(Params):
    """Filters that go together by *and*; the names within one filter by *or*.

    ``since`` and ``until`` bound the start of calls (UTC where they name no zone). Without
    ``environments``, all are taken but that of experiments. ``min_score`` takes only calls that
    have each score, at least that high; it is judged when a call is taken. ``where`` are further
    conditions in Langfuse's own filter language, as they stand. ``metadata`` names the keys whose
    values are wanted in full: Langfuse cuts the others at 200 characters. ``settle`` leaves calls
    that are younger than so many seconds for the next run, so that their scores are there;
    ``late`` looks back so many seconds for calls that arrived late.
    """

    since: datetime | None = None
    until: datetime | None = None
    names: tuple[str, ...] = ()
    trace_names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    types: tuple[str, ...] = ("GENERATION",)
    min_score: dict[str, float] = Field(default_factory=dict)
    where: tuple[dict[str, Any], ...] = ()
    metadata: tuple[str, ...] = ()
    scores: bool = True
    settle: float = Field(default=0, ge=0)
    late: float = Field(default=3600, ge=0)
    page_size: int = Field(default=500, ge=1, le=1000)

    @field_validator("since", "until")
    @classmethod
    def _has_a_zone(cls, value: datetime | None) -> datetime | None:
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)

    @field_validator("min_score")
    @classmethod
    def _scores_are_read(cls, value: dict[str, float], info: Any) -> dict[str, float]:
        if value and info.data.get("scores") is False:
            message = "needs the scores, and scores = false leaves them out"
            raise ValueError(message)
        return value
