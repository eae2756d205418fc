"""Small training files for tests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from understudy.model import Rows

__all__ = ["chat_rows"]


def chat_rows(path: Path, rows: int = 12, *, text: str = "turn on the light in room") -> Rows:
    """Write ``rows`` chat rows in JSONL to ``path`` and describe them.

    Token counts are rough (four characters a token): enough for limits and estimates in tests.
    """
    lines = []
    for number in range(rows):
        user = {"role": "user", "content": f"{text} {number}"}
        answer = {"role": "assistant", "content": json.dumps({"room": number})}
        lines.append(json.dumps({"messages": [user, answer]}))
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(data)
    sizes = [len(line) // 4 for line in lines]
    return Rows(
        path=str(path),
        sha256=hashlib.sha256(data).hexdigest(),
        rows=rows,
        tokens=sum(sizes),
        longest=max(sizes, default=0),
        bytes=len(data),
    )
