"""The input file of a batch, checked line by line."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from understudy_sandbox.batchrows import input_tokens

_SHOWN_PROBLEMS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProblem:
    """Why a batch fails before it begins."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None

    def shown(self) -> dict[str, Any]:
        """As an element of the batch's ``errors``."""
        return {"code": self.code, "line": self.line, "message": self.message, "param": self.param}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedBatch:
    """An input file that can be answered: its model and the input tokens of each request."""

    model: str
    tokens: array[int]


def _problem(
    row: Any, endpoints: Sequence[str], seen: set[str], model: str | None
) -> tuple[str, str] | None:
    if not isinstance(row, dict):
        return "invalid_json_line", "This line is not a JSON object."
    name, body = row.get("custom_id"), row.get("body")
    named = body.get("model") if isinstance(body, dict) else None
    missing = "missing_required_parameter"
    faults = (
        (not isinstance(name, str) or not name, missing, "custom_id is missing or is no text."),
        (
            isinstance(name, str) and name in seen,
            "duplicate_custom_id",
            f"The custom_id {name!r} was used before.",
        ),
        (row.get("method") != "POST", "invalid_method", "method must be POST."),
        (
            row.get("url") not in endpoints,
            "invalid_url",
            f"url must be {endpoints[0]}, as in the batch.",
        ),
        (not isinstance(named, str), missing, "body is missing or names no model."),
        (
            model is not None and named != model,
            "mismatched_model",
            f"All requests of a batch must name one model, here {model}.",
        ),
    )
    return next(((code, message) for wrong, code, message in faults if wrong), None)


def _is_usual(row: Any, endpoints: Sequence[str], seen: set[str], model: str | None) -> bool:
    """Whether nothing is wrong with a row; quick, and never true of one that has a problem."""
    try:
        name = row["custom_id"]
        return (
            type(name) is str
            and bool(name)
            and name not in seen
            and row["method"] == "POST"
            and row["url"] in endpoints
            and row["body"]["model"] == model
        )
    except (KeyError, TypeError):
        return False


def check_batch(
    path: Path, endpoints: Sequence[str], *, most: int, most_bytes: int
) -> CheckedBatch | list[BatchProblem]:
    """Check an input file; all of its first 100 problems, or what it asks for.

    Args:
        path: the file.
        endpoints: what its rows may have as their url, the batch's own first.
        most: how many requests it may hold.
        most_bytes: how large it may be.
    """
    if path.stat().st_size > most_bytes:
        message = f"The input file is over {most_bytes / 1e6:g} MB. Split it."
        return [BatchProblem(code="file_too_large", message=message)]
    problems: list[BatchProblem] = []
    seen: set[str] = set()
    model: str | None = None
    tokens = array("I")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            row = _parsed(line)
            if model is None or not _is_usual(row, endpoints, seen, model):
                fault = _problem(row, endpoints, seen, model)
                if fault:
                    if len(problems) < _SHOWN_PROBLEMS:
                        problems.append(BatchProblem(code=fault[0], message=fault[1], line=number))
                    continue
                model = str(row["body"]["model"])
            seen.add(row["custom_id"])
            tokens.append(input_tokens(row["body"]))
            if len(seen) > most:
                message = f"The file has over {most} requests. Split it."
                return [BatchProblem(code="too_many_requests", message=message)]
    if problems:
        return problems
    if model is None:
        return [BatchProblem(code="empty_file", message="The input file holds no request.")]
    return CheckedBatch(model=model, tokens=tokens)


def count_tokens(path: Path) -> array[int]:
    """The input tokens of each request of a checked file."""
    with path.open("rb") as lines:
        return array("I", (input_tokens(orjson.loads(line)["body"]) for line in lines))


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
