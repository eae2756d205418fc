"""Where chunks are worked on: in this process, on all cores (Daft), or on a Ray cluster (Daft).

The work is the same function everywhere, and a part carries the number of its chunk, so the place
changes the time that it takes and nothing else.
"""

from __future__ import annotations

import importlib
import os
import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from understudy.data.chunks import Chunk
from understudy.data.library import load_daft
from understudy.data.work import Task, Work
from understudy.errors import ConfigError, Unavailable

__all__ = ["Engine", "parts"]

_PATIENCE = 10.0
"""How long a cluster may take to answer, in seconds."""

_INLINE = 6
"""Up to so many chunks starting processes costs more than it saves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """Where the rows of a dataset are worked on.

    Args:
        name: "local" is this machine; "ray" a Ray cluster whose machines see the source at the
            same path and have Understudy and its plugins installed.
        address: of the cluster, as ``ray.init`` takes it; None finds one that runs here, or
            starts one on this machine.
        processes: how many work at once; default: the cores there are.
    """

    name: Literal["local", "ray"] = "local"
    address: str | None = None
    processes: int | None = None


def parts(chunks: Sequence[Chunk], task: Task, engine: Engine) -> Iterator[tuple[int, bytes]]:
    """(number of the chunk, its packed part), in whatever order they are done.

    Raises:
        ConfigError: what the engine needs is not installed, or the cluster cannot be reached.
        Unavailable: the cluster broke off.
    """
    cores = engine.processes or len(os.sched_getaffinity(0))
    if engine.name == "local" and (len(chunks) <= _INLINE or cores == 1):
        yield from _inline(chunks, task)
        return
    if engine.name == "ray" and engine.address is not None:
        _require_reachable(engine.address)
    daft = load_daft("[data] engine")
    if engine.name == "ray":
        fetch, cores = _ray(daft, engine)
    elif _runner(daft) == "ray":
        raise ConfigError("this process works on Ray already; use a new one for engine 'local'")
    else:
        daft.set_runner_native()
        fetch = _here
    with _told():
        frame = _frame(daft, chunks, task, cores=cores, apart=engine.name == "local")
        for piece in frame.iter_partitions(results_buffer_size=cores):
            done = fetch(piece).to_pydict()
            yield from zip(done["index"], done["part"], strict=True)


@contextmanager
def _told() -> Iterator[None]:
    """Turns what a cluster says when it breaks off into an error in words."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("ray."):
            raise
        raise Unavailable(
            f"the Ray cluster broke off ({type(error).__name__}); nothing was kept of this "
            "dataset, and the source is as it was. See that its machines are up, and run again"
        ) from error


def _inline(chunks: Sequence[Chunk], task: Task) -> Iterator[tuple[int, bytes]]:
    work = Work(task)
    for chunk in chunks:
        yield chunk.index, work(chunk).pack()


def _runner(daft: Any) -> str:
    return str(daft.get_or_infer_runner_type())


def _require_reachable(address: str) -> None:
    """Ray ends the whole process where nobody answers; a look beforehand makes it an error."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # "auto", "local": Ray finds them itself
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        raise ConfigError(
            f"the Ray cluster at {address} cannot be reached ({error.strerror or error}); "
            "check the address, and that the cluster runs"
        ) from None


def _ray(daft: Any, engine: Engine) -> tuple[Callable[[Any], Any], int]:
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise ConfigError(
            "engine 'ray' needs Ray, which is not installed; run: pip install 'understudy[ray]'"
        ) from None
    if not ray.is_initialized():
        ray.init(address=engine.address, log_to_driver=False, configure_logging=False)
    daft.set_runner_ray(noop_if_initialized=True)
    cores = engine.processes or max(1, int(ray.cluster_resources().get("CPU", 1)))
    return ray.get, cores


def _here(piece: Any) -> Any:
    return piece


def _frame(daft: Any, chunks: Sequence[Chunk], task: Task, *, cores: int, apart: bool) -> Any:
    @daft.cls(max_concurrency=cores, use_process=True if apart else None)
    class Worker:
        def __init__(self, packed: bytes) -> None:
            self._work = Work(pickle.loads(packed))  # noqa: S301 - packed a few lines below

        @daft.method.batch(return_dtype=daft.DataType.binary(), batch_size=1)  # type: ignore[untyped-decorator]
        def part(self, chunk: Any) -> list[bytes]:
            return [self._work(Chunk(**each)).pack() for each in chunk.to_pylist()]

    frame = daft.from_pydict(
        {
            "index": [chunk.index for chunk in chunks],
            "chunk": [{name: getattr(chunk, name) for name in Chunk.__slots__} for chunk in chunks],
        }
    )
    if not apart:
        # On Ray a task takes a partition; each chunk is one.
        frame = frame.into_partitions(len(chunks))
    worker = Worker(pickle.dumps(task))
    return frame.select(daft.col("index"), worker.part(daft.col("chunk")).alias("part"))
