"""Token counts as Langfuse keeps them: whole numbers by kind, OpenAI's own form taken apart."""

from __future__ import annotations

from typing import Any

_OPENAI = {"input": "prompt_tokens", "output": "completion_tokens", "total": "total_tokens"}


def counts(given: dict[str, Any]) -> dict[str, int]:
    """Counts by kind; of OpenAI's usage, the details are kinds of their own."""
    if not _OPENAI.keys().isdisjoint(given) or _OPENAI["input"] not in given:
        return {kind: count for kind, count in given.items() if type(count) is int}
    made: dict[str, int] = {}
    for kind, name in _OPENAI.items():
        count = given.get(name)
        if type(count) is not int:
            continue
        details = given.get(f"{name}_details") or {}
        named = {f"{kind}_{key}": n for key, n in details.items() if type(n) is int and n}
        made |= named | {kind: max(0, count - sum(named.values()))}
    return made
