"""The batch form of ``infer.Answerer``: the same shards and operations as precompute.

Asked for answers that the book does not have, it makes a run of the missing ones (or finds the
run that an earlier call made) and raises ``AnswersPending``. When the run has ended it wakes the
operation that asked, which asks again and gets its answers from the book.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from understudy.backend import SupportsBatch
from understudy.batch.planning import Planned, Scope, cut
from understudy.batch.runs import insert_run, shard_rows
from understudy.batch.sinks import ASK
from understudy.data import request_tokens
from understudy.engine import Engine, batch_shards
from understudy.engine.answers import Book
from understudy.engine.batch_files import RowForm
from understudy.engine.batch_shards import Run, RunState, Terms
from understudy.engine.batch_uploads import FORM
from understudy.engine.operations import Operation
from understudy.errors import AnswersPending, Unavailable
from understudy.infer import Answer
from understudy.model import ChatRequest, ModelRef

__all__ = ["BatchAnswerer"]

_CHUNK = 500


class BatchAnswerer:
    """Asks by batch; see ``understudy.infer.Answerer``.

    Args:
        engine: the engine.
        op: the operation that asks; it is woken when the answers are there.
        backend: the model's backend.
        ref: the model.
        book: where answers are kept, and looked for.
        account: key of the operation whose reservation pays.
        budget: name of the budget behind it.
        max_output_tokens: bound on an answer.
    """

    def __init__(
        self,
        engine: Engine,
        op: Operation,
        *,
        backend: SupportsBatch,
        ref: ModelRef,
        book: Book,
        account: str,
        budget: str,
        max_output_tokens: int,
    ) -> None:
        self._engine, self._op, self._backend, self._ref = engine, op, backend, ref
        self._book, self._account = book, account
        self._terms = Terms(budget=budget, account=account, max_output_tokens=max_output_tokens)

    def answer(self, requests: Sequence[ChatRequest]) -> Iterator[Answer]:
        """One answer for each request, in order. Equal requests are asked once.

        Raises:
            AnswersPending: they are under way.
            NotEligible: this model cannot be asked by batch, and why.
        """
        keys = [self._book.key(request) for request in requests]
        asked = dict(zip(keys, requests, strict=True))
        missing = [key for key in asked if key not in self._known(asked)]
        problems: Mapping[str, str] = {}
        if missing:
            run = self._run(asked, missing)
            if run.state is RunState.CANCELLED:
                raise Unavailable(f"{run.id}, which asks by batch, was cancelled; retry its job")
            if run.state is not RunState.DONE:
                raise AnswersPending(f"{run.id} asks {len(missing):,} questions by batch")
            problems = _problems(batch_shards.folder(self._engine, run))
        return self._answers(keys, requests, problems)

    def _known(self, keys: Mapping[str, ChatRequest]) -> set[str]:
        found: set[str] = set()
        rest = iter(keys)
        while part := list(islice(rest, _CHUNK)):
            found |= self._book.known(part).keys()
        return found

    def _answers(
        self, keys: Sequence[str], requests: Sequence[ChatRequest], problems: Mapping[str, str]
    ) -> Iterator[Answer]:
        for start in range(0, len(keys), _CHUNK):
            part = keys[start : start + _CHUNK]
            known = self._book.known(part)
            for key, request in zip(part, requests[start : start + _CHUNK], strict=True):
                reply = known.get(key)
                problem = None if reply else problems.get(_hex(key), "it was not answered")
                yield Answer(request=request, reply=reply, problem=problem)

    def _run(self, asked: Mapping[str, ChatRequest], missing: Sequence[str]) -> Run:
        """The run of these questions. By all of them: what is answered meanwhile changes none."""
        digest = hashlib.sha256("\n".join((self._account, *sorted(asked))).encode())
        run_id = f"ask-{digest.hexdigest()[:16]}"
        with self._engine.store.read() as tx:
            present = batch_shards.find_run(tx, run_id)
        if present is not None:
            return present
        planned = self._plan(run_id, {key: asked[key] for key in missing})
        with self._engine.store.write() as tx:
            return insert_run(
                tx, self._engine, self._row(run_id, missing, planned), shard_rows(planned)
            )

    def _plan(self, run_id: str, asked: Mapping[str, ChatRequest]) -> Planned:
        """Write the shards; doing it again after a kill writes the same."""
        limits = self._backend.batch_limits(self._ref.id)
        folder = self._engine.batch_root / run_id
        folder.mkdir(parents=True, exist_ok=True)
        RowForm.whole().write(folder / FORM)
        spilled: dict[int, list[bytes]] = {}
        for key, request in asked.items():
            line = self._line(_hex(key), request)
            spilled.setdefault(int(line[:2], 16), []).append(line)
        for bucket, lines in spilled.items():
            (folder / f"spill-{bucket:02x}").write_bytes(b"\n".join(lines) + b"\n")
        enqueued = limits.enqueued_tokens
        scope = Scope(
            requests=limits.requests,
            bytes=limits.bytes,
            tokens=None if enqueued is None else max(enqueued // 2, 1),
            constant=RowForm.whole().constant,
        )
        return cut(folder, Planned(rows=len(asked), rejected=0), scope)

    def _line(self, key: str, request: ChatRequest) -> bytes:
        row = orjson.dumps(self._backend.batch_row(request, custom_id=key))
        tokens = request_tokens(request.messages, request.tools)
        return b"%b%08x%b" % (key.encode(), tokens, row)

    def _row(self, run_id: str, missing: Sequence[str], planned: Planned) -> dict[str, Any]:
        return {
            "id": run_id,
            "name": self._op.key,
            "purpose": ASK,
            "owner": self._op.job_id,
            "backend": self._ref.backend,
            "model": self._ref.id,
            "version": f"{self._ref.backend}:{self._ref.id}",
            "folder": run_id,
            "plan": {
                "terms": self._terms.model_dump(mode="json"),
                "wakes": self._op.key,
                "sampled": "@" in missing[0],
                "check": {"allow_cut": True},
                "rows": planned.rows,
                "rejected": 0,
                "duplicates": 0,
                "known": 0,
                "asked": planned.asked,
            },
        }


def _hex(key: str) -> str:
    """The hash in a key of the book: ``u1:HEX`` or ``u1:HEX@ACCOUNT``."""
    return key.partition(":")[2].partition("@")[0]


def _problems(folder: Path) -> dict[str, str]:
    """Why questions were not answered, by the hex of their keys."""
    found: dict[str, str] = {}
    for path in folder.glob("*.apart.jsonl"):
        for line in path.read_bytes().splitlines():
            one = orjson.loads(line)
            found[one["key"]] = one["reason"]
    return found
