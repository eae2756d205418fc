"""Fine-tuning jobs: what happens to them as sandbox time goes by."""

from __future__ import annotations

import logging
import math
import threading
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from understudy_sandbox import jobview, timeline
from understudy_sandbox.fits import FitSpec, spec_of
from understudy_sandbox.learner.base import Refused
from understudy_sandbox.state import OPENAI_HOME, new_id
from understudy_sandbox.tokens import default_epochs
from understudy_sandbox.validate import Problem, check_file

if TYPE_CHECKING:
    from understudy_sandbox.billing import Bill
    from understudy_sandbox.clock import Clock
    from understudy_sandbox.fits import Fits
    from understudy_sandbox.state import Doc, State

_log = logging.getLogger(__name__)
ORGANISATION = "sandbox"
AUTO_RATE = 1.8  # what OpenAI shows for an automatic learning-rate multiplier
_CHECKPOINTS = 3


class Trainer:
    """Moves jobs on. All waiting is derived from stored times, so a restart goes on unhindered."""

    def __init__(self, state: State, clock: Clock, fits: Fits, bill: Bill) -> None:
        self._state = state
        self._clock = clock
        self._fits = fits
        self._bill = bill
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="learner")
        self._lock = threading.RLock()
        self._working: set[str] = set()
        self._due: dict[str, float] = {}  # when there is next anything to do for a job
        self._checked: dict[tuple[str, str, str], Problem | dict[str, int]] = {}
        self._live = {d["id"] for d in state.docs["job"] if not d["final"]}

    def add(self, job: Doc) -> Doc:
        """Take in a new job."""
        with self._lock:
            self._state.docs["job"].put(job)
            self._live.add(job["id"])
        self.refresh(job)
        return job

    def refresh(self, job: Doc) -> None:
        """Bring one job to where it should be now."""
        with self._lock:
            if not job["final"]:
                self._advance(job, self._clock.now())

    def settle(self) -> None:
        """Bring every live job to where it should be now."""
        now = self._clock.now()
        with self._lock:
            while True:
                for name in list(self._live):
                    job = self._state.docs["job"].get(name)
                    if job is not None and now >= self._due.get(name, 0.0):
                        self._advance(job, now)
                # A place given may let a job run and end within the same leap of the clock.
                given = give_places(self._state.docs["job"], now)
                for job in given:
                    self._state.docs["job"].put(job)
                if not given:
                    return

    def _advance(self, job: Doc, now: float) -> None:
        if job["prepared_at"] is None:
            self._work(job["id"], self._prepare)
            return
        end = timeline.validated_at(job) or now
        if now < end:
            self._due[job["id"]] = end
            return
        forced = job["forced"]
        if job["problem"] or (forced and forced["at"] <= 0):
            self._fail(job, end, job["problem"] or forced)
            return
        start = timeline.running_from(job)
        if start is None:
            return
        if now < start:
            self._due[job["id"]] = start
            return
        if forced and timeline.progress(job, now) >= forced["at"]:
            when = timeline.moment(job, forced["at"] * job["timings"]["running"]) or now
            self._fail(job, when, forced)
            return
        if job["fitted_at"] is None:
            self._work(job["id"], self._fit)
        finish = timeline.finish_time(job)
        if finish is not None and now >= finish:
            self._succeed(job, finish)
        elif finish is not None and not forced:
            self._due[job["id"]] = finish

    def _work(self, name: str, task: Any) -> None:
        if name in self._working:
            return
        self._working.add(name)

        def run() -> None:
            try:
                task(name)
            except Refused as error:
                self._break_off(name, code="training_failed", message=str(error))
            except Exception:  # noqa: BLE001 - whatever it is, the job must end
                _log.exception("training of %s broke off", name)
                self._break_off(name)
            finally:
                self._working.discard(name)
            job = self._state.docs["job"].get(name)
            if job is not None:
                self.refresh(job)

        self._pool.submit(run)

    def _break_off(
        self,
        name: str,
        *,
        code: str = "server_error",
        message: str = "The sandbox's learner broke off at these rows; its log says where.",
    ) -> None:
        # A fault of the sandbox's own must end the job, or it would be tried again for ever.
        with self._lock:
            job = self._state.docs["job"].get(name)
            if job is not None and not job["final"]:
                reason = {
                    "status": "failed",
                    "code": code,
                    "message": message,
                    "param": None,
                }
                self._fail(job, self._clock.now(), reason)

    def _prepare(self, name: str) -> None:
        job = self._state.docs["job"].get(name)
        if job is None:
            return
        found = self._check(job["training_blob"], job["method"]["type"], "training file")
        if job["validation_blob"] and not isinstance(found, Problem):
            second = self._check(job["validation_blob"], job["method"]["type"], "validation file")
            found = second if isinstance(second, Problem) else found
        with self._lock:
            if job["final"]:
                return
            if isinstance(found, Problem):
                param = "validation_file" if "validation file" in found.message else "training_file"
                job["problem"] = {
                    "status": "failed",
                    "code": found.code,
                    "message": found.message,
                    "param": param,
                }
            else:
                job["plan"] = plan(job, found["rows"], found["tokens"])
            job["prepared_at"] = self._clock.now()
            self._state.docs["job"].put(job)

    def _check(self, blob: str, method: str, what: str) -> Problem | dict[str, int]:
        key = (blob, method, what)
        if key not in self._checked:
            with self._state.blob(blob).open("rb") as lines:
                found = check_file(lines, method, what)
            self._checked[key] = found if isinstance(found, Problem) else asdict(found)
        return self._checked[key]

    def _fit(self, name: str) -> None:
        job = self._state.docs["job"].get(name)
        if job is None or job["final"]:
            return
        spec = spec_of(job["plan"]["fit"])
        ready = self._fits.is_ready(spec)

        def note(measure: dict[str, Any]) -> None:
            job["measures"] = [*job["measures"], measure]

        job["measures"] = []
        _, measures = self._fits.fitted(spec, note)
        with self._lock:
            job["measures"] = measures
            # A model that was there already costs no time, whenever it was looked for.
            start = timeline.running_from(job)
            job["fitted_at"] = start if ready else self._clock.now()
            self._state.docs["job"].put(job)

    def _finish(self, job: Doc, final: Doc) -> None:
        job["final"] = final
        self._live.discard(job["id"])
        self._due.pop(job["id"], None)
        self._state.docs["job"].put(job)

    def _fail(self, job: Doc, when: float, reason: Doc) -> None:
        if reason["status"] == "cancelled":
            self._end_cancelled(job, when)
            return
        error = {k: reason.get(k) for k in ("code", "message", "param")}
        with self._state.writing():
            self._finish(job, {"status": "failed", "at": when, "tokens": 0, "error": error})

    def _end_cancelled(self, job: Doc, when: float) -> None:
        done = timeline.progress(job, when) if job["plan"] else 0.0
        tokens = int(done * job["plan"]["total_tokens"]) if job["plan"] else 0
        with self._state.writing():
            self._finish(job, {"status": "cancelled", "at": when, "tokens": tokens, "error": None})
            if tokens:
                self._bill.training(job, tokens)

    def _succeed(self, job: Doc, when: float) -> None:
        plan_ = job["plan"]
        name = model_name(job)
        with self._state.writing():
            points = checkpoint_points(plan_["epochs"], plan_["steps"])
            for epochs, step in points:
                last = epochs == plan_["epochs"]
                shown = name if last else f"{name}:ckpt-step-{step}"
                fit = {**plan_["fit"], "epochs": epochs}
                self._state.docs["model"].put(
                    {
                        "id": shown,
                        "base": job["base"],
                        "job": job["id"],
                        "created": when,
                        "fit": fit,
                        "home": job["home"],
                        "checkpoint": not last,
                        "step": step,
                    }
                )
            result = jobview.result_file(self._state, job, when)
            self._finish(
                job,
                {
                    "status": "succeeded",
                    "at": when,
                    "tokens": plan_["total_tokens"],
                    "error": None,
                    "model": name,
                    "results": [result],
                    "points": points,
                },
            )
            self._bill.training(job, plan_["total_tokens"])

    def cancel(self, job: Doc) -> None:
        """Cancel a live job; what it did so far is billed."""
        with self._lock:
            self._end_cancelled(job, self._clock.now())

    def pause(self, job: Doc) -> None:
        """Stop the running clock of a job."""
        with self._lock:
            job["pauses"].append([self._clock.now(), None])
            self._due.pop(job["id"], None)
            self._state.docs["job"].put(job)

    def resume(self, job: Doc) -> None:
        """Let the running clock of a paused job go on."""
        with self._lock:
            job["pauses"][-1][1] = self._clock.now()
            self._due.pop(job["id"], None)
            self._state.docs["job"].put(job)

    def force(self, name: str, fate: Doc) -> None:
        """Give a job a fate: ``{status, at (share of running), code, message}``."""
        with self._lock:
            job = self._state.docs["job"].get(name)
            if job is not None and not job["final"]:
                job["forced"] = fate
                self._due.pop(job["id"], None)
                self._state.docs["job"].put(job)

    def close(self) -> None:
        """Stop working; live jobs go on after a restart."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def give_places(jobs: Iterable[Doc], now: float) -> list[Doc]:
    """Let waiting jobs run where their queue has a free place; those that got one.

    Only jobs with ``slot_at`` wait: their ``queue`` names what they share and how many may run.
    """
    held: dict[str, list[tuple[float, float]]] = defaultdict(list)
    waiting = []
    for job in jobs:
        if job.get("slot_at") is not None:
            end = job["final"]["at"] if job["final"] else math.inf
            held[job["queue"]["name"]].append((job["slot_at"], end))
        elif "slot_at" in job and not job["final"]:
            waiting.append(job)
    given = []
    for job in waiting:
        ready = timeline.queued_until(job)
        if ready is None or now < ready or job["problem"]:
            continue
        places = held[job["queue"]["name"]]
        for at in sorted({ready, *(end for _, end in places if ready < end <= now)}):
            if sum(since <= at < end for since, end in places) < job["queue"]["places"]:
                job["slot_at"] = at
                places.append((at, math.inf))
                given.append(job)
                break
    return given


def checkpoint_points(epochs: int, steps: int) -> list[tuple[int, int]]:
    """(epoch, step) of the checkpoints of a job: the ends of its last three epochs."""
    first = max(1, epochs - _CHECKPOINTS + 1)
    return [(e, max(1, round(steps * e / epochs))) for e in range(first, epochs + 1)]


def model_name(job: Doc) -> str:
    """``ft:<base>:<organisation>:<suffix>:<id>``, or what the job's face calls it."""
    return job["named"] or f"ft:{job['base']}:{ORGANISATION}:{job['suffix'] or ''}:{job['short']}"


def plan(job: Doc, rows: int, tokens: int) -> Doc:
    """What a job will do, ``auto`` resolved: epochs, batch, rate, steps, billed tokens, fit."""
    asked = job["asked"]
    epochs = default_epochs(rows) if asked["n_epochs"] == "auto" else asked["n_epochs"]
    batch = asked["batch_size"]
    if batch in ("auto", None):
        batch = min(256, max(1, rows // 500))
    rate = asked["learning_rate_multiplier"]
    rate = AUTO_RATE if rate == "auto" else rate
    spec = FitSpec(
        datasets=(*job["parents"], job["training_blob"]),
        validation=job["validation_blob"],
        epochs=epochs,
        seed=job["seed"],
        rate=rate / AUTO_RATE,
    )
    return {
        "rows": rows,
        "epochs": epochs,
        "batch_size": batch,
        "rate": rate,
        "steps": max(1, -(-rows * epochs // batch)),
        "total_tokens": tokens * epochs,
        "fit": asdict(spec),
    }


def new_job(**fields: Any) -> Doc:
    """A job's document with nothing done yet."""
    return {
        "id": new_id("ftjob-"),
        "short": new_id("", 8),
        "prepared_at": None,
        "problem": None,
        "plan": None,
        "fitted_at": None,
        "measures": [],
        "pauses": [],
        "forced": None,
        "final": None,
        "shown_status": None,
        "home": OPENAI_HOME,
        "named": None,
        "tier": None,
        "visible_at": 0,
        **fields,
    }
