"""From rows of chat to tokens: an Arrow file on disk, never a dataset in memory.

A supervised row becomes ``input_ids`` and ``labels``, where everything but the answer is left out
of the loss. A preference pair becomes ``prompt_ids``, ``chosen_ids`` and ``rejected_ids``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.model import PAIRED_METHODS, Json
from understudy_local.artifacts import read_json, write_json
from understudy_local.trainers.base import TrainingFailed

__all__ = ["IGNORED", "Prepared", "prepare", "tokens_of_pair", "tokens_of_row"]

IGNORED = -100
"""The label of a token that the loss leaves out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """One file of rows as tokens. ``tokens`` are of one pass, ``longest`` of the longest row."""

    path: Path
    rows: int
    tokens: int
    longest: int
    rejected: int


class _Unusable(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


def prepare(
    source: Path, target: Path, *, tokenizer: Any, method: str, max_length: int
) -> Prepared:
    """Write ``target``, an Arrow file; what an earlier call finished is taken as it is.

    Rows that cannot be used go to ``NAME.rejected.jsonl`` beside it, with file, line, field and
    reason (their text stays in the source).

    Raises:
        TrainingFailed: no row is left.
    """
    done = target.with_suffix(".json")
    told = read_json(done)
    if told is None:
        told = _write(source, target, tokenizer=tokenizer, method=method, max_length=max_length)
        write_json(done, told)
    if not told["rows"]:
        raise TrainingFailed(
            f"none of the rows in {source} can be trained on: {target.stem}.rejected.jsonl in "
            f"{target.parent} says why, line by line",
            code="bad_rows",
        )
    return Prepared(path=target, **told)


def _write(
    source: Path, target: Path, *, tokenizer: Any, method: str, max_length: int
) -> dict[str, int]:
    from datasets import Features, List, Value
    from datasets.arrow_writer import ArrowWriter

    paired = method in PAIRED_METHODS
    columns = ("prompt_ids", "chosen_ids", "rejected_ids") if paired else ("input_ids", "labels")
    features = Features({name: List(Value("int32")) for name in columns})
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    kept = tokens = longest = rejected = 0
    make = tokens_of_pair if paired else tokens_of_row
    with (
        ArrowWriter(path=str(part), features=features) as writer,
        target.with_suffix(".rejected.jsonl").open("w", encoding="utf-8") as refused,
    ):
        for line, row in _lines(source):
            try:
                made = make(row, tokenizer=tokenizer, max_length=max_length)
            except _Unusable as why:
                rejected += 1
                told = {"file": source.name, "line": line, "field": why.field, "reason": str(why)}
                refused.write(json.dumps(told) + "\n")
                continue
            writer.write(made)
            kept += 1
            tokens += sum(len(ids) for name, ids in made.items() if name != "labels")
            longest = max(longest, *_lengths(made))
        writer.finalize()
    part.replace(target)
    return {"rows": kept, "tokens": tokens, "longest": longest, "rejected": rejected}


def _lengths(made: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    if "input_ids" in made:
        return (len(made["input_ids"]),)
    asked = len(made["prompt_ids"])
    return asked + len(made["chosen_ids"]), asked + len(made["rejected_ids"])


def _lines(source: Path) -> Iterator[tuple[int, dict[str, Json]]]:
    with source.open(encoding="utf-8") as file:
        for number, text in enumerate(file, start=1):
            if text.strip():
                yield number, json.loads(text)


def _rendered(
    tokenizer: Any, messages: Sequence[Mapping[str, Json]], tools: Json, *, ask: bool
) -> list[int]:
    try:
        ids = tokenizer.apply_chat_template(
            [_plain(message) for message in messages],
            tools=tools or None,
            add_generation_prompt=ask,
            tokenize=True,
            return_dict=False,
        )
    except Exception as error:  # noqa: BLE001 - a template raises what it likes
        # Often for an order of roles that it does not know.
        message = f"the student's chat template refuses it ({type(error).__name__})"
        raise _Unusable("messages", message) from None
    return list(ids)


def _plain(message: Mapping[str, Json]) -> dict[str, Json]:
    made = {name: value for name, value in message.items() if name != "weight"}
    if made.get("content") is None:
        # Templates put strings together; a tool call comes without any.
        made["content"] = ""
    return made


def _split(messages: Sequence[Mapping[str, Json]]) -> int:
    """Where the answer begins: the last run of the assistant's messages."""
    at = len(messages)
    while at and messages[at - 1].get("role") == "assistant":
        at -= 1
    if at == len(messages):
        raise _Unusable("messages", "the last message is not the assistant's")
    return at


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return place
    return min(len(first), len(second))


def tokens_of_row(row: Mapping[str, Json], *, tokenizer: Any, max_length: int) -> dict[str, Any]:
    """``input_ids`` and ``labels`` of a chat row; only the answer's tokens have labels."""
    messages, tools = row["messages"], row.get("tools")
    at = _split(messages)
    asked = _rendered(tokenizer, messages[:at], tools, ask=True)
    whole = _rendered(tokenizer, messages, tools, ask=False)
    start = _common(asked, whole)
    _check(whole, start, max_length)
    return {"input_ids": whole, "labels": [IGNORED] * start + whole[start:]}


def tokens_of_pair(row: Mapping[str, Json], *, tokenizer: Any, max_length: int) -> dict[str, Any]:
    """``prompt_ids``, ``chosen_ids`` and ``rejected_ids`` of a preference pair."""
    asked, tools = row["input"]["messages"], row["input"].get("tools")
    prompt = _rendered(tokenizer, asked, tools, ask=True)
    both = [
        _rendered(tokenizer, [*asked, *row[name]], tools, ask=False)
        for name in ("preferred_output", "non_preferred_output")
    ]
    start = min(_common(prompt, whole) for whole in both)
    for whole in both:
        _check(whole, start, max_length)
    return {
        "prompt_ids": both[0][:start],
        "chosen_ids": both[0][start:],
        "rejected_ids": both[1][start:],
    }


def _check(whole: Sequence[int], start: int, max_length: int) -> None:
    if start >= len(whole):
        raise _Unusable("messages", "the answer is empty")
    if len(whole) > max_length:
        message = f"{len(whole)} tokens, and max_length is {max_length}; raise it to keep the row"
        raise _Unusable("messages", message)
