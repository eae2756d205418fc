"""What a batch made, and what of it is delivered: an output file and an error file."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

Fate = Callable[[int, bytes, bool], tuple[bytes | None, bool]]
"""What becomes of row ``i`` with its line, answered or not: the line to deliver (None is none),
and whether it is an answer."""
FaultsOf = Mapping[str, Mapping[str, Any]]
"""The faults of one batch by kind, each with the fields of its rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The result lines of all requests, each kind in the requests' order.

    Attributes:
        good: lines of the answered.
        bad: lines of the refused.
        index: input tokens of all requests (0 for a refused one), then output tokens.
        rows: how many requests there are.
    """

    good: Path
    bad: Path
    index: Path
    rows: int

    @classmethod
    def kept(
        cls, good: Path, bad: Path, inputs: array[int], outputs: array[int], folder: Path
    ) -> Results:
        """Lines that were written, with their tokens put on disk too."""
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as index:
            index.write(inputs.tobytes())
            index.write(outputs.tobytes())
        return cls(good=good, bad=bad, index=Path(index.name), rows=len(inputs))

    def tokens(self) -> tuple[array[int], array[int]]:
        """Input and output tokens of each request."""
        inputs, outputs = array("I"), array("I")
        with self.index.open("rb") as index:
            inputs.fromfile(index, self.rows)
            outputs.fromfile(index, self.rows)
        return inputs, outputs

    def forget(self) -> None:
        """Remove what was not delivered."""
        for path in (self.good, self.bad, self.index):
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What a batch returns: its files (where there is anything in them), counts and tokens."""

    output: Path | None
    errors: Path | None
    completed: int
    failed: int
    inputs: int
    outputs: int


def deliver(results: Results, folder: Path, fate: Fate | None) -> Delivered:
    """The two files of a batch.

    Args:
        results: what it made; the files are moved or removed.
        folder: where the two files are made.
        fate: what becomes of each row; None delivers all as they are.
    """
    inputs, outputs = results.tokens()
    if fate is None:
        refused = inputs.count(0)
        found = Delivered(
            output=_kept(results.good),
            errors=_kept(results.bad),
            completed=results.rows - refused,
            failed=refused,
            inputs=sum(inputs),
            outputs=sum(outputs),
        )
        results.index.unlink()
        return found
    found = _picked(results, folder, fate, inputs, outputs)
    results.forget()
    return found


def _picked(
    results: Results, folder: Path, fate: Fate, inputs: array[int], outputs: array[int]
) -> Delivered:
    counts = {"completed": 0, "failed": 0, "inputs": 0, "outputs": 0}
    with (
        results.good.open("rb") as good,
        results.bad.open("rb") as bad,
        tempfile.NamedTemporaryFile(dir=folder, delete=False) as output,
        tempfile.NamedTemporaryFile(dir=folder, delete=False) as errors,
    ):
        for i in range(results.rows):
            answered = inputs[i] > 0
            line, answers = fate(i, next(good if answered else bad), answered)
            if line is None:
                continue
            (output if answers else errors).write(line)
            counts["completed" if answers else "failed"] += 1
            if answers:
                counts["inputs"] += inputs[i]
                counts["outputs"] += outputs[i]
    return Delivered(output=_kept(Path(output.name)), errors=_kept(Path(errors.name)), **counts)


def _kept(path: Path) -> Path | None:
    if path.stat().st_size:
        return path
    path.unlink()
    return None


def fate_of(rows: int, *, share: float, faults: FaultsOf, expired: bool) -> Fate | None:
    """What becomes of the rows of a batch.

    Args:
        rows: how many there are.
        share: share of the requests that were done; the rest was not begun.
        faults: faults of the batch: ``lose_rows`` and ``expire_batch`` lose rows for good,
            ``fail_rows`` and ``filter_rows`` refuse them.
        expired: requests not begun are reported as expired.
    """
    done = round(rows * share)
    lost = round(done * _fraction(faults, "lose_rows"))
    refusals = [_refusal(kind, faults[kind]) for kind in _REFUSED if kind in faults]
    if done == rows and not lost and not refusals:
        return None

    def fate(i: int, line: bytes, answered: bool) -> tuple[bytes | None, bool]:
        # An expired batch of reality may lose rows altogether: here, every second one not begun.
        if i < lost or (i >= done and (not expired or ("expire_batch" in faults and i % 2))):
            return None, False
        if i >= done:
            return _instead(line, response=None, error=_EXPIRED), False
        for share_of, response in refusals:
            if int((i + 1) * share_of) > int(i * share_of):
                return _instead(line, response=response, error=None), False
        return line, answered

    return fate


_EXPIRED = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}
_REFUSED = ("fail_rows", "filter_rows")
_WORDS: Mapping[int, tuple[str, str, str]] = {
    400: (
        "content_filter",
        "invalid_request_error",
        "The response was filtered due to the prompt triggering the content management policy.",
    ),
    429: ("rate_limit_exceeded", "requests", "Rate limit reached. Please try again later."),
}


def _fraction(faults: FaultsOf, kind: str) -> float:
    return float(faults[kind]["fraction"]) if kind in faults else 0.0


def _refusal(kind: str, rule: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
    status = 400 if kind == "filter_rows" else int(rule["status"])
    code, sort, message = _WORDS.get(status, (None, "server_error", "The server had an error."))
    error = {
        "message": rule["message"] or message,
        "type": rule["type"] or sort,
        "param": None,
        "code": rule["code"] or code,
    }
    response = {"status_code": status, "request_id": "", "body": {"error": error}}
    return float(rule["fraction"]), response


def _instead(line: bytes, **fields: Any) -> bytes:
    return orjson.dumps({**orjson.loads(line), **fields}) + b"\n"
