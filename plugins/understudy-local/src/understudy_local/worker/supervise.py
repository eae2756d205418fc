"""What the worker of a job does, from its start to the outcome.

It holds no torch: waiting costs little, and when the system kills the trainer for memory, the
worker is there to tell. Everything that it must know is in the job's folder, so a worker that was
killed is replaced by another that goes on from the last checkpoint (``LocalBackend.poll`` starts
it). The kernel ends the trainer with its worker, and what is left of a former worker is ended
before anything is started.
"""

from __future__ import annotations

import contextlib
import signal
import time
from typing import Any

from filelock import FileLock, Timeout

from understudy_local import devices, processes
from understudy_local.artifacts import Home, JobFolder, read_json, write_json, write_once
from understudy_local.jobfile import Order, read_order
from understudy_local.trainers.failures import explain, less_memory
from understudy_local.worker import oom
from understudy_local.worker.child import Child
from understudy_local.worker.turns import Turn

__all__ = ["Worker"]

_SECOND_WORKER_WAITS = 60.0
_STOPPED = 75


class Worker:
    """The worker of one job.

    Args:
        folder: the job's.
    """

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder
        self._order: Order = read_order(folder)
        self._told: dict[str, Any] = {}
        self._leaving = False

    def run(self) -> None:
        """Bring the job to its next rest: an outcome, or a pause. Returns at once if it has one."""
        signal.signal(signal.SIGTERM, self._leave)
        processes.mark()
        if self._folder.outcome.exists():
            return
        # One that is just ending may hold it for a moment; one that runs is not to be doubled.
        try:
            with FileLock(self._folder.lock, timeout=_SECOND_WORKER_WAITS):
                self._take_over()
                self._guarded()
        except Timeout:
            return

    def _guarded(self) -> None:
        """Work, and end the job with words where the work itself breaks."""
        try:
            self._work()
        except Exception as error:
            failure = explain(error, self._order.params, "cpu")
            self._fail(failure.code, f"the worker stopped: {failure}")
            raise

    def _leave(self, *_: object) -> None:
        self._leaving = True

    # -- the way of a job ----------------------------------------------------------------------

    def _take_over(self) -> None:
        """End what a former worker left, and say that this one is in charge."""
        former = read_json(self._folder.worker) or {}
        leader = processes.parse(former)
        me = processes.identify()
        assert me is not None
        if leader is not None and leader != me:
            processes.signal_group(leader, signal.SIGKILL)
        self._told = {**former, **me.to_json()}

    def _work(self) -> None:
        if self._folder.outcome.exists() or self._rested():
            return
        if self._folder.adapter.is_dir():
            self._succeed()
            return
        kind = devices.kind_of(self._order.device)
        slots = devices.slots_of(kind)
        count = self._order.params.gpus if kind == "cuda" else 1
        if count > len(slots):
            self._fail("no_device", f"the job wants {count} {kind} devices, here are {len(slots)}")
            return
        self._tell("queued")
        turn = Turn(
            Home(self._order.home).slots,
            job=self._folder.id,
            created_at=self._order.created_at,
            slots=slots,
            count=count,
        )
        if not turn.wait(self._still_waiting):
            self._rested()
            return
        with turn.held() as taken:
            self._train(kind, taken)

    def _still_waiting(self) -> bool:
        time.sleep(self._order.poll_interval)
        return not (self._wished() or self._leaving)

    def _wished(self) -> bool:
        return self._folder.wish_cancel.exists() or self._folder.wish_pause.exists()

    def _rested(self) -> bool:
        """Whether there is a wish that ends the work; then it is carried out."""
        if self._folder.wish_cancel.exists():
            self._end("cancelled", None)
            return True
        if self._folder.wish_pause.exists():
            self._tell("paused", attempts=0)
            return True
        return False

    # -- training ------------------------------------------------------------------------------

    def _train(self, kind: str, slots: tuple[str, ...]) -> None:
        while self._may_try():
            if self._rested():
                return
            with contextlib.suppress(FileNotFoundError):
                self._folder.failure.unlink()
            killed, began = oom.kills(), time.monotonic()
            child = Child(self._folder, self._order, kind=kind, slots=slots)
            code = self._watch(child)
            spent = (time.monotonic() - began) * len(slots)
            self._told["device_seconds"] = round(self._told.get("device_seconds", 0.0) + spent, 3)
            if self._settled(code, starved=oom.kills() > killed and code == -signal.SIGKILL):
                return

    def _may_try(self) -> bool:
        """Count this try; False, and the job has failed, after too many that got nowhere."""
        kept = self._folder.complete_checkpoints()
        step = kept[-1][0] if kept else 0
        tries = self._told.get("attempts", 0) if self._told.get("from_step") == step else 0
        if tries > self._order.max_restarts:
            self._fail(
                "killed",
                f"the trainer was killed {tries} times in a row without getting past step {step}. "
                "If it was not you, look at the system's log, and take a smaller batch_size or "
                "student; checkpoints at a smaller checkpoint_steps let it get further",
            )
            return False
        self._tell("running", attempts=tries + 1, from_step=step)
        return True

    def _watch(self, child: Child) -> int:
        """Wait until the trainer has ended; what is wished is passed on."""
        deadline: float | None = None
        while (code := child.poll()) is None:
            if self._wished() or self._leaving:
                if deadline is None:
                    # The trainer sees wishes for itself; before its first step it has nothing to
                    # save, so there is nothing to wait for.
                    grace = self._order.grace_seconds if child.has_begun() else 0.0
                    deadline = time.monotonic() + grace
                    child.ask_to_stop()
                elif time.monotonic() > deadline:
                    child.kill()
            time.sleep(self._order.poll_interval)
        child.kill()
        return code

    def _settled(self, code: int, *, starved: bool) -> bool:
        """Whether the job came to rest with this exit of its trainer."""
        if self._folder.adapter.is_dir():
            self._succeed()
        elif self._rested():
            pass
        elif self._leaving:
            self._tell("stopped", attempts=0)
        elif starved:
            advice = less_memory(self._order.params, devices.kind_of(self._order.device))
            self._fail("out_of_memory", f"the system killed the trainer for memory: {advice}")
        elif (failure := read_json(self._folder.failure)) is not None:
            self._fail(str(failure["code"]), str(failure["message"]))
        elif code == _STOPPED or code < 0:
            return False  # killed by somebody, or a wish that was taken back: once more
        else:
            told = f"the trainer ended with exit code {code} and said nothing"
            self._fail("crashed", f"{told}; {self._folder.output} may say more")
        return True

    # -- telling -------------------------------------------------------------------------------

    def _tell(self, state: str, **more: Any) -> None:
        self._told |= {"state": state, "since": time.time(), **more}
        write_json(self._folder.worker, self._told)

    def _succeed(self) -> None:
        told = read_json(self._folder.adapter / "trained.json") or {}
        order = self._order
        self._end(
            "succeeded",
            None,
            base_model=order.base_model,
            base=told.get("base"),
            adapter_sha256=told.get("sha256"),
            licence=order.licence,
            steps=told.get("steps"),
            trained_tokens=told.get("trained_tokens"),
            metrics=told.get("metrics") or {},
            trainer=told.get("trainer"),
            device=told.get("device"),
        )

    def _fail(self, code: str, message: str) -> None:
        self._end("failed", {"code": code, "message": message})

    def _end(self, state: str, problem: dict[str, str] | None, **more: Any) -> None:
        write_once(
            self._folder.outcome,
            {
                "state": state,
                "at": time.time(),
                "problem": problem,
                "device_seconds": self._told.get("device_seconds", 0.0),
                **more,
            },
        )
        self._tell(state)
