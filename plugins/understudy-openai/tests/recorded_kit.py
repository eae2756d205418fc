"""Reading what notebooks printed, for every plugin that maps the same recordings."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[4] / "shared" / "recorded"
NOTEBOOKS = RECORDED / "azure_notebook_outputs.txt"


def notebook_objects() -> Iterator[Any]:
    """Objects printed in notebooks, as JSON or as Python; those cut off are passed over."""
    page = NOTEBOOKS.read_text(encoding="utf-8")
    for match in re.finditer(r"^\{", page, re.MULTILINE):
        piece = page[match.start() :]
        try:
            yield json.JSONDecoder().raw_decode(piece)[0]
        except json.JSONDecodeError:
            end = re.search(r"\}\s*$", piece, re.MULTILINE)
            try:
                yield ast.literal_eval(piece[: end.end()] if end else piece)
            except (ValueError, SyntaxError):
                continue
