"""Whether the system has killed for memory: its own counters, before and after."""

from __future__ import annotations

from pathlib import Path

__all__ = ["kills"]

_COUNTERS = (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events"))


def kills() -> int:
    """How many processes the system has killed for memory since it started; 0 if it keeps none."""
    total = 0
    for path in _COUNTERS:
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return total
