"""What went wrong in training, and what to change: one message for each kind of trouble."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

from understudy.errors import UnderstudyError
from understudy_local.params import LocalParams
from understudy_local.trainers.base import TrainingFailed

__all__ = ["explain", "less_memory"]

_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
    "cublas_status_alloc_failed",
)
_NO_DISK = ("no space left on device", "disk quota exceeded", "file write failed")


def explain(error: BaseException, params: LocalParams, device: str) -> TrainingFailed:
    """``error`` in words that may be kept: of errors that nobody foresaw, kind and place alone."""
    if isinstance(error, TrainingFailed):
        return error
    if isinstance(error, UnderstudyError):
        return TrainingFailed(str(error), code="no_student")
    text = " ".join(str(one).lower() for one in _chain(error))
    of_disk = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    if of_disk or any(words in text for words in _NO_DISK):
        return TrainingFailed(
            "the disk is full: training stopped and its last whole checkpoint is kept. Free some "
            "space, lower keep_checkpoints, or set home in [backends.local] to a larger disk; "
            "then run it again",
            code="no_disk",
        )
    if isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY):
        where = "the GPU" if device == "cuda" else "this machine"
        return TrainingFailed(
            f"the memory of {where} is not enough: {less_memory(params, device)}",
            code="out_of_memory",
        )
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return TrainingFailed(
        f"training broke with {type(error).__name__}{place}; output.txt in the job's folder has "
        "the whole of it",
        code="crashed",
    )


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in found:
        found.append(at)
        at = at.__cause__ or at.__context__
    return found


def less_memory(params: LocalParams, device: str) -> str:
    """What to change, nearest first, so that training takes less memory."""
    advice = []
    if params.batch_size > 1:
        half = params.batch_size // 2
        advice.append(
            f"batch_size = {half} with gradient_accumulation = {2 * params.gradient_accumulation}"
            " trains the same in less"
        )
    if not params.gradient_checkpointing:
        advice.append("gradient_checkpointing = true")
    if device == "cuda" and params.quantize != "4bit":
        advice.append('quantize = "4bit"')
    if params.max_length > 512:
        advice.append("a smaller max_length where rows are short")
    advice.append("or a smaller student (`understudy students`)")
    return "; ".join(advice)
