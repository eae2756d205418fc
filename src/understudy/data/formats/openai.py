"""OpenAI's and Azure's rows: supervised, preference (DPO), reinforcement.

Source: the fine-tuning guides and FineTuneChatRequestInput, FineTunePreferenceRequestInput and
FineTuneReinforcementRequestInput of OpenAI's OpenAPI description.
"""

from __future__ import annotations

from typing import Any

from understudy.data.messages import check_messages
from understudy.data.rows import answer_text, row_parser
from understudy.model import PAIRED_METHODS, Example, Message, Method
from understudy.recipe import Cleaning

__all__ = ["read", "write"]

_CHAT = row_parser("chat", Cleaning())
_PAIR = row_parser("preference", Cleaning())


def write(example: Example, method: Method) -> dict[str, Any]:
    """The row. A reinforcement row ends with the question; its ``reference`` is for the grader."""
    if method == "reinforcement":
        reference = example.reference
        answer = answer_text(example.messages[-1]) if reference is None else reference
        return _asked(example.messages[:-1], example) | {"reference": answer}
    if method not in PAIRED_METHODS:
        return _asked(example.messages, example)
    return {
        "input": _asked(example.messages[:-1], example),
        "preferred_output": example.messages[-1:],
        "non_preferred_output": example.rejected,
    }


def read(row: dict[str, Any], method: Method) -> Example:
    """The example; of a reinforcement row, with the reference as its answer."""
    if method != "reinforcement":
        return (_PAIR if method in PAIRED_METHODS else _CHAT)(row).example
    answer = [{"role": "assistant", "content": row.get("reference")}]
    whole = {**row, "messages": [*row.get("messages", []), *answer]}
    return _CHAT(whole).example


def _asked(messages: tuple[Message, ...], example: Example) -> dict[str, Any]:
    made: dict[str, Any] = {"messages": list(check_messages(list(messages), "messages"))}
    if example.tools:
        made["tools"] = list(example.tools)
    return made
