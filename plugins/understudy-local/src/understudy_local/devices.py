"""The devices of this machine, without torch: it would take seconds to ask."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

__all__ = ["Memory", "kind_of", "memory_of", "slots_of"]

_GPUS = Path("/proc/driver/nvidia/gpus")
_CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Memory in bytes. ``name`` says of what."""

    name: str
    total: int
    free: int


@cache
def _cuda() -> tuple[str, ...]:
    """Numbers or ids of the CUDA devices that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(one.strip() for one in visible.split(",") if one.strip() not in {"", "-1"})
    try:
        return tuple(str(number) for number, _ in enumerate(sorted(_GPUS.iterdir())))
    except OSError:
        return ()


def kind_of(wanted: str) -> str:
    """``cpu`` or ``cuda``: what training will run on."""
    if wanted == "auto":
        return "cuda" if _cuda() else "cpu"
    return wanted


def slots_of(kind: str) -> tuple[str, ...]:
    """Names of what one job at a time may have: each GPU, or the CPU as a whole."""
    return tuple(f"cuda-{one}" for one in _cuda()) if kind == "cuda" else ("cpu",)


def memory_of(kind: str) -> Memory | None:
    """Memory of the device; None where it cannot be told."""
    if kind == "cpu":
        machine = psutil.virtual_memory()
        total, free = machine.total, machine.available
        limit = _limit()
        if limit is not None:
            total, free = min(total, limit), min(free, limit)
        return Memory(name="this machine's memory", total=total, free=free)
    return _gpu_memory()


def _limit() -> int | None:
    """What a container allows."""
    try:
        return int(_CGROUP.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _gpu_memory() -> Memory | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
        name, total, free = (part.strip() for part in told.stdout.splitlines()[0].split(","))
        return Memory(name=name, total=int(total) << 20, free=int(free) << 20)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
