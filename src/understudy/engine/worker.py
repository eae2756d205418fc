"""The worker: claims due operations, steps them, keeps leases alive, and waits.

Any number of workers, on one host (SQLite) or many (PostgreSQL), may drive one store.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from itertools import groupby

from understudy.engine import (
    batch_surplus,
    batch_uploads,
    batches,
    deploying,
    evaluating,
    exporting,
    operations,
    registering,
    surplus,
    training,
    undeploying,
    uploading,
)
from understudy.engine.context import Engine
from understudy.engine.operations import Operation
from understudy.engine.trouble import after_trouble, told
from understudy.errors import StaleRecord
from understudy.secrets import redact

__all__ = ["Worker", "worker_name"]

log = logging.getLogger("understudy.worker")

_LONGEST_PAUSE = 1.0

_STEPS: dict[str, Callable[[Engine, Operation], None]] = {
    "upload": uploading.step,
    "train": training.step,
    "register": registering.step,
    "evaluate": evaluating.step,
    "export": exporting.step,
    "deploy": deploying.step,
    "undeploy": undeploying.step,
    "surplus": surplus.step,
    "batch_upload": batch_uploads.step,
    "batch": batches.step,
    "batch_surplus": batch_surplus.step,
}


def worker_name() -> str:
    """Host, process and a random part: unique enough to be a lease's owner."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


class Worker:
    """Drives operations until told to stop.

    Args:
        engine: the engine; its ``worker`` name owns the leases.
        job_id: drive this job alone.
        concurrency: threads, each stepping one operation (or one group of polls) at a time.
        watch_limit: live jobs polled together at most.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        job_id: str | None = None,
        concurrency: int = 4,
        watch_limit: int = 20_000,
    ) -> None:
        self._engine = engine
        self._job_id = job_id
        self._concurrency = concurrency
        self._watch_limit = watch_limit
        self._held: dict[str, int] = {}
        self._stop = threading.Event()
        self._ended = threading.Event()

    def stop(self) -> None:
        """Finish the steps at hand, then return from ``run``."""
        self._stop.set()

    def once(self) -> int:
        """Claim and step what is due now; the number of operations stepped."""
        watched = self._claim(limit=self._watch_limit, watched=True)
        for _, group in groupby(sorted(watched, key=_backend), key=_backend):
            self._hold(list(group), self._watch)
        others = self._claim(limit=1, watched=False)
        for op in others:
            self._hold([op], self._step)
        return len(watched) + len(others)

    def drain(self) -> int:
        """``once`` until nothing is due; the number of operations stepped."""
        total = 0
        while count := self.once():
            total += count
        return total

    def run(self, *, until: Callable[[], bool] | None = None) -> None:
        """Work until ``stop`` is called, or ``until`` says so."""
        keeper = threading.Thread(target=self._keep_leases, name="leases", daemon=True)
        threads = [
            threading.Thread(target=self._loop, name=f"step-{n}", daemon=True)
            for n in range(self._concurrency)
        ]
        for thread in (keeper, *threads):
            thread.start()
        try:
            while not self._stop.is_set() and not self._reached(until):
                self._stop.wait(0.1)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
            # Only now: the steps at hand may take longer than a lease.
            self._ended.set()

    def _reached(self, until: Callable[[], bool] | None) -> bool:
        try:
            return until is not None and until()
        except Exception as error:  # noqa: BLE001 - the store may be away for a moment
            log.warning("worker: %s", redact(f"{type(error).__name__}: {error}"))
            return False

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                pause = 0.0 if self.once() else self._pause()
            except Exception as error:  # noqa: BLE001 - the store may be away for a moment
                log.warning("worker: %s", redact(f"{type(error).__name__}: {error}"))
                pause = _LONGEST_PAUSE
            self._stop.wait(pause)

    def _pause(self) -> float:
        """Real seconds until something may be due; short, since commands come in between."""
        due = operations.next_due(self._engine.store, job_id=self._job_id)
        if due is None:
            return _LONGEST_PAUSE
        speed = getattr(self._engine.clock, "speed", 1.0)
        return min(max((due - self._engine.now()) / speed, 0.02), _LONGEST_PAUSE)

    def _claim(self, *, limit: int, watched: bool) -> list[Operation]:
        return operations.claim(
            self._engine.store,
            owner=self._engine.worker,
            now=self._engine.now(),
            lease=self._engine.timing.lease,
            limit=limit,
            watched=watched,
            job_id=self._job_id,
        )

    def _hold(self, ops: Sequence[Operation], act: Callable[[Sequence[Operation]], None]) -> None:
        held = {op.key: op.fence for op in ops}
        with self._engine.lock:
            self._held |= held
        try:
            act(ops)
        finally:
            with self._engine.lock:
                for key in held:
                    self._held.pop(key, None)

    def _step(self, ops: Sequence[Operation]) -> None:
        for op in ops:
            try:
                step = _STEPS.get(op.kind) or self._engine.kinds[op.kind]
                step(self._engine, op)
            except StaleRecord as error:
                log.info("%s", error)
            except Exception as error:  # noqa: BLE001 - one operation must not stop the worker
                self._give_back(op, error)

    def _watch(self, ops: Sequence[Operation]) -> None:
        try:
            training.watch(self._engine, ops)
        except Exception as error:  # noqa: BLE001 - as above
            for op in ops:
                self._give_back(op, error)

    def _give_back(self, op: Operation, error: Exception) -> None:
        log.warning("%s: %s", op.key, told(error))
        try:
            after_trouble(self._engine, op, error)
        except StaleRecord as stale:
            log.info("%s", stale)

    def _keep_leases(self) -> None:
        engine = self._engine
        speed = getattr(engine.clock, "speed", 1.0)
        while not self._ended.wait(engine.timing.lease / 3 / speed):
            with engine.lock:
                held = dict(self._held)
            try:
                operations.extend(engine.store, held, until=engine.now() + engine.timing.lease)
            except Exception as error:  # noqa: BLE001 - a lapsed lease is safe, a dead keeper not
                log.warning("leases: %s", redact(f"{type(error).__name__}: {error}"))


def _backend(op: Operation) -> str:
    return op.backend
