"""Is there room for an export, on the disk and in memory, before anything is begun."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from understudy_local import devices
from understudy_local.formats import FORMATS
from understudy_local.work import WorkFailed

__all__ = ["TOKENS", "need_room", "parameters"]

TOKENS = 1024
"""Tokens of held-out rows over which logits are compared."""

_MARGIN = 1.1
_HALF, _FULL = 2, 4
"""Bytes of a weight in half and in full precision."""


def parameters(folder: Path) -> int:
    """How many weights the safetensors files of a Hugging Face folder hold."""
    return sum(_count(file) for file in folder.glob("*.safetensors"))


def _count(file: Path) -> int:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    return sum(math.prod(one["shape"]) for name, one in header.items() if name != "__metadata__")


def _vocabulary(base: Path) -> int:
    told = json.loads((base / "config.json").read_text(encoding="utf-8"))
    return int(told.get("vocab_size") or told.get("text_config", {}).get("vocab_size") or 0)


def need_room(base: Path, folder: Path, formats: Sequence[str]) -> None:
    """Hold what the export will take against what is free.

    Raises:
        WorkFailed: it does not fit; says what would.
    """
    weights = parameters(base)
    bits = {*formats, "f16"}
    disk = weights * (_HALF + sum(FORMATS[name].bits for name in bits) / 8) * _MARGIN
    disk += TOKENS * _vocabulary(base) * _FULL  # the trained model's logits, for the proof
    free = shutil.disk_usage(folder).free
    if disk > free:
        raise WorkFailed(
            f"the export takes about {_gigabytes(disk)} and {_gigabytes(free)} are free at "
            f"{folder}; free some, set home in [backends.local] to another disk, or ask for fewer "
            "formats in [export]",
            code="no_disk",
        )
    memory = devices.memory_of("cpu")
    wanted = weights * _FULL * _MARGIN
    if memory is not None and wanted > memory.free:
        raise WorkFailed(
            f"the trained model takes about {_gigabytes(wanted)} of memory to be held against its "
            f"files, and {_gigabytes(memory.free)} are free; end other programs, or take a smaller "
            "student",
            code="out_of_memory",
        )


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
