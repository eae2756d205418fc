"""Which model gave the answers of a call log."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson

from understudy.data.lines import read_lines

__all__ = ["main_teacher"]


def main_teacher(path: Path) -> str | None:
    """The most frequent ``model`` of a call log's lines, or of collected calls; None for none.

    Raises:
        DataError: the file cannot be read.
    """
    seen: Counter[str] = Counter()
    for line in read_lines(path):
        try:
            value = orjson.loads(line.data)
        except orjson.JSONDecodeError:
            continue  # the dataset's report tells of it
        call = value.get("value", value) if isinstance(value, dict) else None
        model = call.get("model") if isinstance(call, dict) else None
        if isinstance(model, str) and model:
            seen[model] += 1
    # Equal counts must not depend on the order of the lines.
    return min(seen, key=lambda name: (-seen[name], name), default=None)
