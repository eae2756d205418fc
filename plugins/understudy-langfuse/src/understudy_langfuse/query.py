"""Options as a request for observations: field groups and the structured filter."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from understudy_langfuse.calls import CONFIG_KEYS
from understudy_langfuse.options import LangfuseOptions
from understudy_langfuse.watermark import Window

__all__ = ["EXPERIMENTS", "FIELDS", "conditions", "parameters"]

FIELDS = "core,basic,io,metadata,model,usage,trace_context"
"""Groups that a call is made of; times, prompts and metrics are not asked for."""

EXPERIMENTS = "sdk-experiment"
"""Environment of experiments: answers to held-out items are no training data."""

_OPTIONS = (
    ("types", "type"),
    ("names", "name"),
    ("environments", "environment"),
    ("models", "providedModelName"),
    ("trace_names", "traceName"),
)


def conditions(options: LangfuseOptions, window: Window) -> list[dict[str, Any]]:
    """The conditions of a request.

    The window is among them: Langfuse leaves its simple parameters aside where a filter is given.
    """
    made: list[dict[str, Any]] = [
        _of("stringOptions", column, "any of", list(getattr(options, name)))
        for name, column in _OPTIONS
        if getattr(options, name)
    ]
    if not options.environments:
        made.append(_of("stringOptions", "environment", "none of", [EXPERIMENTS]))
    if options.tags:
        made.append(_of("arrayOptions", "traceTags", "any of", list(options.tags)))
    if window.start is not None:
        made.append(_of("datetime", "startTime", ">=", _iso(window.start)))
    made.append(_of("datetime", "startTime", "<", _iso(window.end)))
    return [*made, *options.where]


def _of(kind: str, column: str, operator: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "column": column, "operator": operator, "value": value}


def _iso(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parameters(options: LangfuseOptions, window: Window) -> dict[str, Any]:
    """The query parameters of a request for observations, without the page's."""
    return {
        "fields": FIELDS,
        "expandMetadata": ",".join(dict.fromkeys((*CONFIG_KEYS, *options.metadata))),
        "filter": orjson.dumps(conditions(options, window)).decode(),
    }
