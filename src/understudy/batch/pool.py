"""Renderers in processes of their own: blocks in, spilled lines out.

Plain subprocesses and pickles over their pipes: multiprocessing would import the caller's main
module again, which a script without a guard does not survive, and a fork would copy the locks of
whatever threads there are.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from typing import IO, Any, Self

from understudy.batch.inputs import Block
from understudy.batch.rendering import Rendered, Renderer
from understudy.errors import UnderstudyError

__all__ = ["render_all"]


def render_all(
    blocks: Iterable[Block], arguments: dict[str, Any], *, processes: int
) -> Iterator[Rendered]:
    """Render ``blocks`` in order, ``processes`` at a time.

    Args:
        blocks: the input.
        arguments: what each process makes its ``Renderer`` with; picklable.
        processes: how many; with 1 it is done here.
    """
    if processes == 1:
        renderer = Renderer(**arguments)
        yield from map(renderer.block, blocks)
        return
    idle: SimpleQueue[_Process] = SimpleQueue()
    with ExitStack() as stack:
        for _ in range(processes):
            idle.put(stack.enter_context(_Process(arguments)))
        pool = stack.enter_context(ThreadPoolExecutor(processes, thread_name_prefix="render"))

        def render(block: Block) -> Rendered:
            process = idle.get()
            try:
                return process.render(block)
            finally:
                idle.put(process)

        out: deque[Future[Rendered]] = deque()
        for block in blocks:
            out.append(pool.submit(render, block))
            if len(out) > processes * 2:
                yield out.popleft().result()
        while out:
            yield out.popleft().result()


class _Process:
    """One process that renders; its end is the end of its standard input."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this module
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._send(arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def render(self, block: Block) -> Rendered:
        self._send(block)
        assert self._process.stdout is not None
        try:
            rendered: Rendered = pickle.load(self._process.stdout)  # noqa: S301 - our own process
        except EOFError:
            raise UnderstudyError(
                f"a process that renders the input ended with {self._process.wait()}; what it "
                "said stands above. Run it again: the plan is made anew"
            ) from None
        return rendered

    def _send(self, what: object) -> None:
        assert self._process.stdin is not None
        pickle.dump(what, self._process.stdin, pickle.HIGHEST_PROTOCOL)
        self._process.stdin.flush()


def _serve(given: IO[bytes], made: IO[bytes]) -> None:
    renderer = Renderer(**pickle.load(given))  # noqa: S301 - from our own parent
    while True:
        try:
            block = pickle.load(given)  # noqa: S301 - as above
        except EOFError:
            return
        pickle.dump(renderer.block(block), made, pickle.HIGHEST_PROTOCOL)
        made.flush()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
