"""Progress out, wishes in: the trainer's side of the job's folder."""

from __future__ import annotations

import math
import os
import resource
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import orjson

from understudy_local.artifacts import JobFolder, write_json

__all__ = ["Reporter", "peak_memory"]


def peak_memory() -> int:
    """The most memory that this process has held so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Reporter:
    """Writes heartbeat and log of one job, and reads what people wish.

    Args:
        folder: the job's.
        tokens_a_step: for the rate, until the trainer has counted.
        silent: a process of several that leaves the telling to the first.
    """

    def __init__(self, folder: JobFolder, *, silent: bool = False) -> None:
        self._folder = folder
        self._silent = silent
        self._asked = threading.Event()
        self._began: tuple[float, int] | None = None
        self._tokens_a_step = 0.0
        self._total = 0
        self._last: dict[str, Any] = {}
        self._attempt = 0
        self._peak = 0

    def ask_to_stop(self) -> None:
        """Note that this process was told to stop (a signal)."""
        self._asked.set()

    @property
    def wanted(self) -> bool:
        """Whether training is still wanted."""
        folder = self._folder
        return not (
            self._asked.is_set() or folder.wish_cancel.exists() or folder.wish_pause.exists()
        )

    def begin(self, *, step: int, total: int, tokens_a_step: float, attempt: int = 0) -> None:
        """Training begins at ``step`` of ``total``."""
        self._began = (time.monotonic(), step)
        self._total, self._tokens_a_step, self._attempt = total, tokens_a_step, attempt
        self.step(step)

    def step(self, step: int, metrics: Mapping[str, Any] | None = None, *, peak: int = 0) -> None:
        """A step is done; ``peak`` is the device's memory in bytes, the process's by default."""
        began, first = self._began or (time.monotonic(), step)
        done, took = step - first, time.monotonic() - began
        told = {name: value for name, value in (metrics or {}).items() if _finite(value)}
        self._last.update(told)
        self._peak = max(self._peak, peak or peak_memory())
        a_second = done / took if done > 0 and took > 0 else None
        self._write(
            {
                "at": time.time(),
                "pid": os.getpid(),
                "step": step,
                "total_steps": self._total,
                "loss": self._last.get("loss"),
                "learning_rate": self._last.get("learning_rate"),
                "tokens_per_second": a_second and round(a_second * self._tokens_a_step, 1),
                "seconds_left": a_second and round((self._total - step) / a_second, 1),
                "peak_memory_bytes": self._peak,
            }
        )

    def note(self, message: str, *, level: str = "info", **metrics: Any) -> None:
        """A line of the training log. ``message`` must not quote rows."""
        if self._silent:
            return
        line = {
            "at": time.time(),
            "level": level,
            "message": message,
            "metrics": {name: value for name, value in metrics.items() if _finite(value)},
        }
        with self._folder.log.open("ab") as file:
            # One write of a whole line: a reader never sees half of it, nor does a kill leave it.
            file.write(orjson.dumps(line) + b"\n")

    @property
    def peak(self) -> int:
        """The most memory seen so far, in bytes."""
        return self._peak

    def _write(self, heartbeat: Mapping[str, Any]) -> None:
        if not self._silent:
            # Not forced to the disk: after a crash of the machine the next step tells it again.
            write_json(self._folder.heartbeat, heartbeat, durable=False)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
