"""One job at a time on a device, first come first served, and nobody to hold the list.

Who waits puts a ticket into ``slots/line/``, named by the time at which its job was created. Who
has the smallest ticket of all that still live may take a device, whose lock the kernel gives back
when its holder dies. So neither a crash nor a reboot leaves a device taken or a place lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout

from understudy_local import processes
from understudy_local.artifacts import read_json, write_json

__all__ = ["Turn"]


class Turn:
    """A place in the line for devices.

    Args:
        folder: ``Home.slots``.
        job: the job's id.
        created_at: what the line is ordered by.
        slots: the devices that would do.
        count: how many of them are wanted.
    """

    def __init__(
        self, folder: Path, *, job: str, created_at: float, slots: tuple[str, ...], count: int = 1
    ) -> None:
        self._folder, self._slots, self._count = folder, slots, count
        self._line = folder / "line"
        self._line.mkdir(parents=True, exist_ok=True)
        self._ticket = self._line / f"{round(created_at * 1e6):020d}-{job}.json"
        self._held = ExitStack()
        self.taken: tuple[str, ...] = ()

    def wait(self, pause: Callable[[], bool]) -> bool:
        """Wait until it is our turn; False once ``pause`` (which waits a little) says to give up.

        On True the devices in ``taken`` are held until ``release``.
        """
        identity = processes.identify()
        assert identity is not None
        write_json(self._ticket, identity.to_json(), durable=False)
        try:
            while not self._take():
                if not pause():
                    return False
        finally:
            self._ticket.unlink(missing_ok=True)
        return True

    def _take(self) -> bool:
        # Looking and taking are one step for all: two of the first would take half each.
        try:
            with FileLock(self._folder / "line.lock", timeout=0):
                if not self._is_first():
                    return False
                return self._lock_some()
        except Timeout:
            return False

    def _is_first(self) -> bool:
        for ticket in sorted(self._line.glob("*.json")):
            if ticket.name >= self._ticket.name:
                return True
            if processes.is_alive(processes.parse(read_json(ticket))):
                return False
            # Its worker died in the line; when it is started again it makes a new one.
            ticket.unlink(missing_ok=True)
        return True

    def _lock_some(self) -> bool:
        with ExitStack() as held:
            taken = []
            for slot in self._slots:
                with contextlib.suppress(Timeout):
                    held.enter_context(FileLock(self._folder / f"{slot}.lock", timeout=0))
                    taken.append(slot)
                if len(taken) == self._count:
                    self._held = held.pop_all()
                    self.taken = tuple(taken)
                    return True
        return False

    def release(self) -> None:
        """Give the devices back."""
        self._held.close()
        self.taken = ()

    @contextlib.contextmanager
    def held(self) -> Iterator[tuple[str, ...]]:
        """The devices, given back at the end."""
        try:
            yield self.taken
        finally:
            self.release()
