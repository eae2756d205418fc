"""The trainer's process, from the worker's side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from understudy_local import processes
from understudy_local.artifacts import JobFolder
from understudy_local.jobfile import Order

__all__ = ["Child"]


class Child:
    """Starts the trainer in the worker's session, on the devices that the worker holds.

    Args:
        folder: the job's.
        order: what it is to do.
        kind: ``cpu`` or ``cuda``.
        slots: the devices, as ``devices.slots_of`` names them.
    """

    program: tuple[str, ...] = ("-m", "understudy_local.trainers.run")
    """What Python is told to run as the trainer; the job's folder comes last."""

    def __init__(
        self, folder: JobFolder, order: Order, *, kind: str, slots: tuple[str, ...]
    ) -> None:
        self._folder = folder
        # What an earlier try told is not this one's.
        folder.heartbeat.unlink(missing_ok=True)
        with folder.output.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*self._command(len(slots)), str(folder.path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder.path,
                env={**os.environ, **_environment(order, kind, slots)},
            )

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def has_begun(self) -> bool:
        """Whether it has begun to train, so that there is something to save."""
        return self._folder.heartbeat.exists()

    def ask_to_stop(self) -> None:
        """Let it save a checkpoint and end."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it started, at once."""
        me = processes.identify()
        assert me is not None
        for process in processes.members(me):
            process.kill()
        if self._process.poll() is None:
            self._process.kill()

    def _command(self, count: int) -> list[str]:
        if count == 1:
            return [sys.executable, *self.program]
        launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
        # accelerate calls a module by a flag of its own name.
        module = ["--module", self.program[-1]] if self.program[0] == "-m" else [*self.program]
        return [*launcher, "--num_processes", str(count), *module]


def _environment(order: Order, kind: str, slots: tuple[str, ...]) -> dict[str, str]:
    made = {"UNDERSTUDY_LOCAL_DEVICE": kind}
    if len(slots) == 1:
        # With several, the launcher stands between: the trainers are not the worker's children.
        made["UNDERSTUDY_LOCAL_PARENT"] = str(os.getpid())
    if kind == "cuda":
        made["CUDA_VISIBLE_DEVICES"] = ",".join(slot.removeprefix("cuda-") for slot in slots)
    else:
        made["CUDA_VISIBLE_DEVICES"] = ""
    if order.threads is not None:
        made["OMP_NUM_THREADS"] = str(order.threads)
    if order.offline:
        made["HF_HUB_OFFLINE"] = "1"
    # No token counts go to anyone.
    return made | {"HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
