"""Opening the project that a command works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from understudy.cli.context import session
from understudy.cli.output import note

if TYPE_CHECKING:
    from understudy.project import Project

__all__ = ["full_id", "log_on_stderr", "moment", "open_project"]


def open_project(ctx: typer.Context) -> Project:
    """The project of this call; close it, or use it as a context manager."""
    from understudy.project import Project

    here = session(ctx)
    return Project(here.config, host=here.host)


def full_id(project: Project, job: str) -> str:
    """The whole id of the job that ``job`` begins.

    Raises:
        ConfigError: none or several begin so.
    """
    from understudy.engine import jobs

    with project.store.read() as tx:
        return jobs.get(tx, job).id


def moment(at: float) -> str:
    """A time for people, in UTC."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


@contextmanager
def log_on_stderr(*, everything: bool = False) -> Iterator[None]:
    """Show what the engine logs as plain lines on stderr: trouble, or everything. No secrets."""
    import logging

    from understudy.secrets import redact

    class Plain(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(redact(record.getMessage()))

    logger = logging.getLogger("understudy")
    before = logger.handlers, logger.propagate, logger.level
    logger.handlers, logger.propagate = [Plain()], False
    logger.setLevel(logging.INFO if everything else logging.WARNING)
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before[:2]
        logger.setLevel(before[2])
