"""``python -m understudy_local.serving.batch_work FOLDER``: the process of one batch.

Answers are appended to ``output.jsonl`` as they come. A process that takes over keeps every whole
line and asks only for what is missing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import orjson

from understudy.errors import BackendError, InvalidData, NotFound
from understudy.model import ChatReply, ChatRequest
from understudy_local.artifacts import Home
from understudy_local.serving import batch_rows, client
from understudy_local.serving.models import served
from understudy_local.settings import LocalSettings
from understudy_local.work import Work, WorkFailed, carry_out, settings_of

__all__ = ["OUTPUT", "WISH", "Ask", "answer_all"]

OUTPUT = "output.jsonl"
WISH = "wish-cancel"
Ask = Callable[[ChatRequest], ChatReply]

_TIMEOUT = 600.0
_AT_ONCE = 4
"""Requests that are ready beside each that is asked."""


def answer_all(work: Work, ask: Ask, *, parallel: int) -> None:
    """Answer every row that has no answer yet, and say how the batch ended."""
    spec = work.spec()
    counts = {"completed": 0, "failed": 0}
    done = _kept(work.path / OUTPUT, counts)
    stopped = False
    with (
        (work.path / OUTPUT).open("ab", buffering=0) as out,
        ThreadPoolExecutor(parallel) as threads,
    ):
        waiting: set[Future[dict[str, Any]]] = set()
        for row in _missing(Path(spec["rows"]), done):
            stopped = (work.path / WISH).exists()
            if stopped:
                break
            waiting.add(threads.submit(_answer, ask, row))
            if len(waiting) >= parallel * _AT_ONCE:
                waiting = _write(out, waiting, counts, work)
        while waiting:
            waiting = _write(out, waiting, counts, work)
        os.fsync(out.fileno())
    work.end("cancelled" if stopped else "succeeded", **counts)


def _kept(path: Path, counts: dict[str, int]) -> set[str]:
    """Requests whose rows are whole; what a crash left half written is cut off."""
    done: set[str] = set()
    if not path.exists():
        return done
    whole = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            row = orjson.loads(line)
            done.add(row["custom_id"])
            counts["failed" if "error" in row else "completed"] += 1
            whole += len(line)
    os.truncate(path, whole)
    return done


def _missing(path: Path, done: set[str]) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            for line in file:
                row = orjson.loads(line)
                if row["custom_id"] not in done:
                    yield row
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise WorkFailed(
            f"the rows in {path} cannot be read ({type(error).__name__}); send the batch again",
            code="bad_rows",
        ) from None


def _answer(ask: Ask, row: dict[str, Any]) -> dict[str, Any]:
    custom_id = str(row["custom_id"])
    try:
        return batch_rows.answered(custom_id, ask(batch_rows.request_of(row)))
    except BackendError as error:
        return batch_rows.refused(custom_id, error)
    except (KeyError, TypeError):
        return batch_rows.refused(custom_id, InvalidData("it is no chat request", code="bad_row"))


def _write(
    out: Any, waiting: set[Future[dict[str, Any]]], counts: dict[str, int], work: Work
) -> set[Future[dict[str, Any]]]:
    ended, left = wait(waiting, return_when=FIRST_COMPLETED)
    rows = [one.result() for one in ended]
    out.write(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
    for row in rows:
        counts["failed" if "error" in row else "completed"] += 1
    work.tell(**counts, step=sum(counts.values()))
    return left


def _asker(settings: LocalSettings) -> Ask:
    home = Home(settings.home)

    def ask(request: ChatRequest) -> ChatReply:
        found = served(home, request.model)
        return client.complete(home, found, settings, request, timeout=_TIMEOUT)

    return ask


def _carry(work: Work) -> None:
    settings = settings_of(work.spec())
    try:
        served(Home(settings.home), work.spec()["model"])
    except NotFound as error:
        raise WorkFailed(str(error), code="no_model") from None
    answer_all(work, _asker(settings), parallel=settings.parallel_requests)


if __name__ == "__main__":
    carry_out(Work(Path(sys.argv[1])), _carry)
