"""Batches: validated, answered in bulk, finished when sandbox time says so."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy_sandbox.azure.batchfile import as_azure
from understudy_sandbox.batchanswer import Answering
from understudy_sandbox.batchfaults import bent
from understudy_sandbox.batchfile import BatchProblem, check_batch, count_tokens
from understudy_sandbox.batchresults import Results, deliver, fate_of
from understudy_sandbox.billing import Priced
from understudy_sandbox.errors import ApiError
from understudy_sandbox.state import OPENAI_HOME, new_id

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

    from understudy_sandbox.billing import Bill
    from understudy_sandbox.catalog import Resolved
    from understudy_sandbox.clock import Clock
    from understudy_sandbox.config import Config
    from understudy_sandbox.fits import Fits
    from understudy_sandbox.state import Doc, State

_log = logging.getLogger(__name__)
WINDOW = 86_400.0  # sandbox seconds from creation to expiry
_KEPT = 30 * 86_400.0  # sandbox seconds that results are kept
_CANCELLING = 1.0
_COUNTED = 64  # batches whose rows' tokens stay in memory until they are answered


class Batcher:
    """Moves batches on, like ``Trainer`` moves jobs: all waiting is derived from stored times."""

    def __init__(
        self,
        *,
        state: State,
        clock: Clock,
        fits: Fits,
        bill: Bill,
        resolve: Callable[[Doc, str], Resolved],
        config: Config,
    ) -> None:
        self._state = state
        self._clock = clock
        self._fits = fits
        self._bill = bill
        self._resolve = resolve
        self._config = config
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._lock = threading.RLock()
        self._working: set[str] = set()
        self._results: dict[str, Results] = {}
        self._tokens: OrderedDict[str, array[int]] = OrderedDict()
        self._live = {d["id"] for d in state.docs["batch"] if not d["final"]}

    def add(self, batch: Doc) -> Doc:
        """Take in a new batch."""
        with self._lock:
            self._state.docs["batch"].put(batch)
            self._live.add(batch["id"])
        self.settle()
        return batch

    def settle(self) -> None:
        """Bring every live batch to where it should be now."""
        now = self._clock.now()
        with self._lock:
            for name in list(self._live):
                batch = self._state.docs["batch"].get(name)
                if batch is not None:
                    self._advance(batch, now)

    def _advance(self, batch: Doc, now: float) -> None:
        if batch["checked_at"] is None:
            self._work(batch["id"], self._check)
            return
        started = in_progress_at(batch)
        if now < started:
            return
        if batch["problems"]:
            self._finish(batch, {"status": "failed", "at": started})
            return
        if batch["id"] not in self._results:
            self._work(batch["id"], self._answer)
            return
        status, when, share = outcome(batch)
        if now >= when:
            self._deliver(batch, status, when, share)

    def _work(self, name: str, task: Callable[[Doc], None]) -> None:
        if name in self._working:
            return
        self._working.add(name)

        def run() -> None:
            batch = self._state.docs["batch"].get(name)
            try:
                if batch is not None and not batch["final"]:
                    task(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, the batch must end
                _log.exception("batch %s broke off", name)
                self._break_off(name, error)
            finally:
                self._working.discard(name)
            with self._lock:
                if batch is not None and not batch["final"]:
                    self._advance(batch, self._clock.now())

        self._pool.submit(run)

    def _break_off(self, name: str, error: Exception) -> None:
        # Ends the batch, or it would be tried again for ever. A model that was retired or deleted
        # meanwhile is the usual reason, and its message may be shown.
        said = str(error) if isinstance(error, ApiError) else "The sandbox broke off; see its log."
        with self._lock:
            batch = self._state.docs["batch"].get(name)
            if batch is not None and not batch["final"]:
                batch["problems"] = [BatchProblem(code="server_error", message=said).shown()]
                self._finish(batch, {"status": "failed", "at": self._clock.now()})

    def _check(self, batch: Doc) -> None:
        found = check_batch(
            self._state.blob(batch["blob"]),
            batch["endpoints"],
            most=batch["most"],
            most_bytes=self._config.batch_bytes,
        )
        problems = found if isinstance(found, list) else []
        if not isinstance(found, list):
            total = sum(found.tokens)
            problems = self._admission(batch, found.model, total)
            batch.update(model=found.model, total=len(found.tokens), tokens=total)
            if not problems:
                batch.update(billed=asdict(self._resolve(batch, found.model).priced))
                self._tokens[batch["id"]] = found.tokens
                while len(self._tokens) > _COUNTED:
                    self._tokens.popitem(last=False)
        with self._lock:
            batch["problems"] = [p.shown() for p in problems]
            batch["checked_at"] = self._clock.now()
            self._state.docs["batch"].put(batch)

    def _admission(self, batch: Doc, model: str, tokens: int) -> list[BatchProblem]:
        try:
            self._resolve(batch, model)
        except ApiError as error:
            code = str(error.body["error"]["code"])
            return [BatchProblem(code=code, message=str(error), param="body.model")]
        with self._lock:
            enqueued = sum(
                d["tokens"]
                for d in self._state.docs["batch"]
                if d["id"] in self._live
                and d["id"] != batch["id"]
                and d["model"] == model
                and not d["problems"]
            )
        limit = self._config.batch_token_limit
        if enqueued + tokens <= limit and "over_quota" not in batch["faults"]:
            return []
        return [
            BatchProblem(
                code="token_limit_exceeded",
                message=f"Enqueued token limit reached for {model}: {enqueued} tokens are "
                f"enqueued, this batch has {tokens}, the limit is {limit}. Wait for another "
                "batch to end, or send fewer requests.",
            )
        ]

    def _answer(self, batch: Doc) -> None:
        model = self._resolve(batch, batch["model"])
        answering = Answering(self._fits, model, int(in_progress_at(batch)))
        source = self._state.blob(batch["blob"])
        tokens = self._tokens.pop(batch["id"], None) or count_tokens(source)
        found = answering.file(source, self._state.folder, tokens)
        with self._lock:
            self._results[batch["id"]] = found
            if batch["answered_at"] is None:
                batch["answered_at"] = self._clock.now()
                self._state.docs["batch"].put(batch)

    def _finish(self, batch: Doc, final: Doc) -> None:
        batch["final"] = final
        self._live.discard(batch["id"])
        self._state.docs["batch"].put(batch)

    def _deliver(self, batch: Doc, status: str, when: float, share: float) -> None:
        results, faults = self._results.pop(batch["id"]), batch["faults"]
        fate = fate_of(results.rows, share=share, faults=faults, expired=status == "expired")
        found = bent(deliver(results, self._state.folder, fate), faults, self._state.folder)
        if batch["home"] != OPENAI_HOME:
            found = as_azure(found, self._state.folder)
        with self._state.writing():
            output = self._store(batch, found.output, "output", when)
            errors = self._store(batch, found.errors, "error", when)
            if "no_output_file" in batch["faults"]:
                output = None
            self._finish(
                batch,
                {
                    "status": status,
                    "at": when,
                    "output": output,
                    "errors": errors,
                    "completed": found.completed,
                    "failed": found.failed,
                    "inputs": found.inputs,
                    "outputs": found.outputs,
                },
            )
            if found.completed:
                # By name: the model itself may be retired or deleted by now.
                self._bill.inference(
                    "batch",
                    batch["id"],
                    Priced(**batch["billed"]),
                    inputs=found.inputs,
                    outputs=found.outputs,
                )

    def _store(self, batch: Doc, path: Path | None, what: str, when: float) -> str | None:
        if path is None:
            return None
        blob, size = self._state.keep_blob(path)
        kept = 0 if "expire_files" in batch["faults"] else batch["results_kept"] or _KEPT
        doc = {
            "id": new_id("file-"),
            "blob": blob,
            "bytes": size,
            "created": when,
            "filename": f"{batch['id']}_{what}.jsonl",
            "purpose": "batch_output",
            "home": batch["home"],
            "expires_at": when + kept,
            "visible_at": 0,
        }
        return str(self._state.docs["file"].put(doc)["id"])

    def cancel(self, batch: Doc) -> None:
        """Ask a live batch to end; what it did is returned and billed."""
        with self._lock:
            batch["cancelling_at"] = self._clock.now()
            self._state.docs["batch"].put(batch)

    def close(self) -> None:
        """Stop working; live batches go on after a restart."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for results in self._results.values():
            results.forget()


def in_progress_at(batch: Doc) -> float:
    """When validation ends."""
    checked = batch["checked_at"] if batch["checked_at"] is not None else float("inf")
    return float(max(batch["created"] + batch["timings"]["validating"], checked))


def done_at(batch: Doc) -> float:
    """When all answers are there: the running time is over and they are really made."""
    end = in_progress_at(batch) + batch["timings"]["running"]
    return float(max(end, batch["answered_at"] or 0.0))


def progress(batch: Doc, now: float) -> float:
    """Share of the running time that is done, 0 to 1."""
    running = batch["timings"]["running"]
    since = now - in_progress_at(batch)
    return max(0.0, min(1.0, since / running)) if running > 0 else float(since >= 0)


def outcome(batch: Doc) -> tuple[str, float, float]:
    """How a batch will end: its status, when, and the share of rows that are done by then."""
    if batch["cancelling_at"] is not None:
        asked = batch["cancelling_at"]
        return "cancelled", asked + _CANCELLING, progress(batch, asked)
    expires, faults = batch["created"] + WINDOW, batch["faults"]
    if "cancel_batch" in faults:
        at = faults["cancel_batch"]["at"]
        asked = in_progress_at(batch) + at * batch["timings"]["running"]
        return "cancelled", max(asked, batch["answered_at"] or 0.0) + _CANCELLING, at
    if "expire_batch" in faults:
        return "expired", done_at(batch), faults["expire_batch"]["fraction"]
    # The time that this machine needs to answer is no reason to expire; the timings are.
    planned = in_progress_at(batch) + batch["timings"]["running"]
    # Azure's 24 hours are a target: its batches go on.
    if planned > expires and batch["home"] == OPENAI_HOME:
        return "expired", expires, progress(batch, expires)
    return "completed", done_at(batch) + batch["timings"]["finalizing"], 1.0


def status_of(batch: Doc, now: float) -> str:
    """The status that the wire shows."""
    if batch["final"]:
        return str(batch["final"]["status"])
    if batch["cancelling_at"] is not None:
        return "cancelling"
    if batch["checked_at"] is None or now < in_progress_at(batch):
        return "validating"
    if batch["answered_at"] is None or now < done_at(batch):
        return "in_progress"
    return "finalizing"


def new_batch(**fields: Any) -> Doc:
    """A batch's document with nothing done yet."""
    return {
        "id": "batch_" + new_id("", 32).lower(),
        "model": None,
        "billed": None,
        "total": 0,
        "tokens": 0,
        "problems": [],
        "checked_at": None,
        "answered_at": None,
        "cancelling_at": None,
        "final": None,
        "faults": {},
        "endpoints": [fields["endpoint"]],
        "home": OPENAI_HOME,
        "visible_at": 0,
        **fields,
    }
