"""Watches that the suite sets on a backend: sleeping, connecting, leaking."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from understudy.model import JobSpec

__all__ = ["leaks", "logged", "no_network", "no_sleep", "row_texts", "told"]


@contextmanager
def no_sleep() -> Iterator[list[str]]:
    """Collect what would have slept on this thread; nothing sleeps.

    Other threads, such as a server's in the same process, go on as they are.
    """
    slept: list[str] = []
    here = threading.get_ident()
    sleep, wait = time.sleep, threading.Event.wait

    def watched_sleep(seconds: float) -> None:
        if threading.get_ident() == here:
            slept.append(f"time.sleep({seconds})")
        else:
            sleep(seconds)

    def watched_wait(event: threading.Event, timeout: float | None = None) -> bool:
        # HTTP clients wait on events that are set already: that is no sleep.
        if threading.get_ident() == here and not event.is_set():
            slept.append(f"Event.wait({timeout})")
            return False
        return wait(event, timeout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", watched_sleep)
        patch.setattr(threading.Event, "wait", watched_wait)
        yield slept


@contextmanager
def no_network() -> Iterator[list[str]]:
    """Collect the addresses that this thread tried to connect to; nothing connects."""
    tried: list[str] = []
    here = threading.get_ident()
    connect = socket.socket.connect

    def watched(self: socket.socket, address: Any) -> None:
        if threading.get_ident() == here:
            tried.append(str(address))
            message = "validate and estimate work offline"
            raise ConnectionRefusedError(message)
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", watched)
        yield tried


def row_texts(spec: JobSpec) -> list[str]:
    """What people wrote in the training rows of ``spec``; it may stand nowhere else."""
    texts: list[str] = []
    for line in Path(spec.training.path).read_text(encoding="utf-8").splitlines():
        for message in json.loads(line).get("messages", ()):
            content = message.get("content")
            if message.get("role") == "user" and isinstance(content, str) and len(content) > 8:
                texts.append(content)
    return texts


def leaks(text: str, forbidden: list[str]) -> list[str]:
    """Which of ``forbidden`` stand in ``text``, shortened."""
    return [f"{word[:6]}..." for word in forbidden if word in text]


def told(error: BaseException) -> str:
    """All that an error can tell: its words, fields, and the traceback with its causes."""
    lines = traceback.format_exception(error)
    # Source lines of the tests themselves are no leak, so only the messages are kept.
    return "\n".join(
        [*(line for line in lines if not line.startswith("  ")), repr(error), repr(vars(error))]
    )


def logged(records: list[logging.LogRecord]) -> str:
    """All that was logged, formatted, with the arguments and exceptions."""
    formatter = logging.Formatter("%(name)s %(message)s")
    return "\n".join(formatter.format(record) for record in records)
