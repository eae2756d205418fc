"""The files of a batch: requests in, answers and errors out, streamed line by line."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from understudy_sandbox.chat import answers_for, completion
from understudy_sandbox.errors import ApiError
from understudy_sandbox.schemas import ChatRequest, validated
from understudy_sandbox.tokens import chat_tokens

if TYPE_CHECKING:
    from understudy_sandbox.catalog import Resolved
    from understudy_sandbox.fits import Fits

MAX_REQUESTS = 50_000
MAX_BYTES = 200 * 2**20
_SHOWN_PROBLEMS = 100
_CHUNK = 2000


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
    """An input file that can be answered: its model, requests and input tokens."""

    model: str
    rows: int
    tokens: int


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


def check_batch(
    path: Path, endpoints: Sequence[str], *, most: int
) -> CheckedBatch | list[BatchProblem]:
    """Check an input file; all of its first 100 problems, or what it asks for.

    Args:
        path: the file.
        endpoints: what its rows may have as their url, the batch's own first.
        most: how many requests it may hold.
    """
    if path.stat().st_size > MAX_BYTES:
        message = "The input file is over 200 MB. Split it."
        return [BatchProblem(code="file_too_large", message=message)]
    problems: list[BatchProblem] = []
    seen: set[str] = set()
    model: str | None = None
    tokens = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                row = None
            fault = _problem(row, endpoints, seen, model)
            if fault and len(problems) < _SHOWN_PROBLEMS:
                problems.append(BatchProblem(code=fault[0], message=fault[1], line=number))
            if not fault:
                seen.add(row["custom_id"])
                model = row["body"]["model"]
                tokens += _input_tokens(row["body"])
            if len(seen) > most:
                message = f"The file has over {most} requests. Split it."
                return [BatchProblem(code="too_many_requests", message=message)]
    if problems:
        return problems
    if model is None:
        return [BatchProblem(code="empty_file", message="The input file holds no request.")]
    return CheckedBatch(model=model, rows=len(seen), tokens=tokens)


def _input_tokens(body: Mapping[str, Any]) -> int:
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        return 0
    return chat_tokens(messages, body.get("tools"))


def _chunks(path: Path) -> Iterator[list[dict[str, Any]]]:
    with path.open("rb") as lines:
        rows: list[dict[str, Any]] = []
        for line in lines:
            rows.append(orjson.loads(line))
            if len(rows) == _CHUNK:
                yield rows
                rows = []
        if rows:
            yield rows


def answer_file(source: Path, target: IO[bytes], fits: Fits, model: Resolved, created: int) -> None:
    """Answer every request of a checked file; one result line each, in the file's order.

    Args:
        source: the input file.
        target: gets the result lines, answers and errors alike.
        fits: where fitted models are.
        model: the model of all requests.
        created: Unix seconds that the answers show.
    """
    for rows in _chunks(source):
        results: list[dict[str, Any] | None] = [None] * len(rows)
        good: list[tuple[int, dict[str, Any]]] = []
        for i, row in enumerate(rows):
            try:
                validated(ChatRequest, row["body"])
            except ApiError as error:
                results[i] = _result(row, error.status, error.body)
            else:
                good.append((i, row["body"]))
        replies = answers_for(fits, model, [body for _, body in good]) if good else []
        for (i, _), reply in zip(good, replies, strict=True):
            name = "chatcmpl-" + _digest(rows[i], "answer")[:29]
            body = completion(name, created, model.name, reply)
            results[i] = _result(rows[i], 200, body)
        target.writelines(orjson.dumps(r) + b"\n" for r in results)


def _digest(row: Mapping[str, Any], what: str) -> str:
    return sha256(f"{what} {row['custom_id']}".encode()).hexdigest()


def _result(row: Mapping[str, Any], status: int, body: Any) -> dict[str, Any]:
    return {
        "id": f"batch_req_{_digest(row, 'request')[:32]}",
        "custom_id": row["custom_id"],
        "response": {
            "status_code": status,
            "request_id": _digest(row, "id")[:32],
            "body": body,
        },
        "error": None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What a batch returns: its files (where there is anything in them), counts and tokens."""

    output: Path | None
    errors: Path | None
    completed: int
    failed: int
    inputs: int
    outputs: int


def split_results(
    source: Path, folder: Path, *, share: float, faults: Mapping[str, float], expired: bool
) -> Delivered:
    """Split result lines into the output file and the error file.

    Args:
        source: the result lines of all requests.
        folder: where the two files are made.
        share: share of the requests that were done; the rest was not begun.
        faults: faults of the batch: ``lose_rows`` and ``expire_batch`` lose rows for good.
        expired: requests not begun are reported as expired.
    """
    with source.open("rb") as lines:
        total = sum(1 for _ in lines)
    done = round(total * share)
    lost = round(done * faults.get("lose_rows", 0.0))
    # An expired batch of reality may lose rows altogether: here, every second one not begun.
    drops_expired = "expire_batch" in faults
    counts = {"completed": 0, "failed": 0, "inputs": 0, "outputs": 0}
    with (
        source.open("rb") as lines,
        tempfile.NamedTemporaryFile(dir=folder, delete=False) as output,
        tempfile.NamedTemporaryFile(dir=folder, delete=False) as errors,
    ):
        for i, line in enumerate(lines):
            if i < lost or (i >= done and (not expired or (drops_expired and i % 2))):
                continue
            row = orjson.loads(line)
            if i >= done:
                errors.write(orjson.dumps(_expired(row)) + b"\n")
                counts["failed"] += 1
            elif row["response"]["status_code"] == 200:
                usage = row["response"]["body"]["usage"]
                output.write(line)
                counts["completed"] += 1
                counts["inputs"] += usage["prompt_tokens"]
                counts["outputs"] += usage["completion_tokens"]
            else:
                errors.write(line)
                counts["failed"] += 1
    return Delivered(output=_kept(output.name), errors=_kept(errors.name), **counts)


def _kept(name: str) -> Path | None:
    path = Path(name)
    if path.stat().st_size:
        return path
    path.unlink()
    return None


def _expired(row: Mapping[str, Any]) -> dict[str, Any]:
    message = "This request could not be executed before the completion window expired."
    return {**row, "response": None, "error": {"code": "batch_expired", "message": message}}
