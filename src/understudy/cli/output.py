"""Printing: tables on a terminal, plain lines in a pipe, JSON for programs, progress for people.

Results go to stdout; progress, hints and warnings go to stderr.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Bar", "note", "print_json", "progress", "say", "show", "table"]

_EVERY = 5.0
"""Seconds between two plain lines of progress."""


def say(text: str) -> None:
    """One line of result on stdout."""
    sys.stdout.write(f"{text}\n")


def note(text: str) -> None:
    """One line for people on stderr: a hint, a warning, the next step."""
    sys.stderr.write(f"{text}\n")


def print_json(data: Any) -> None:
    """``data`` on stdout as indented JSON.

    Takes dataclasses, pydantic models, paths, decimals (as strings), sets and enums. Secrets are
    shown as asterisks.
    """
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    sys.stdout.write(orjson.dumps(data, default=_plain, option=options).decode() + "\n")


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    if isinstance(value, Decimal | Path):
        return str(value)
    if isinstance(value, set | frozenset | tuple):
        return sorted(value, key=str)
    if hasattr(value, "get_secret_value"):
        return "**********"
    message = f"cannot be written as JSON: {type(value).__name__}"
    raise TypeError(message)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """A table on stdout: drawn on a terminal, tab-separated lines with a header in a pipe.

    Args:
        columns: headings.
        rows: cells, as many as headings; None is an empty cell.
        title: stands above the table, on a terminal only.
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in (list(columns), *cells):
            say("\t".join(" ".join(cell.split()) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns, title=title or None, title_justify="left")
    for row in cells:
        drawn.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console().print(drawn)


def show(
    records: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, title: str = ""
) -> None:
    """Records as JSON with all their fields, or as a table of ``columns`` (their field names)."""
    if as_json:
        print_json(records)
        return
    rows = [[record.get(column) for column in columns] for record in records]
    table(columns, rows, title=title)


class Bar(Protocol):
    """A running progress display."""

    def update(self, done: float, note: str = "") -> None:
        """``done`` of the total so far; ``note`` is shown beside it, such as a loss."""
        ...


@contextmanager
def progress(label: str, total: float | None = None, *, quiet: bool = False) -> Iterator[Bar]:
    """Show how far something is, on stderr.

    Args:
        label: what is going on.
        total: what ``done`` goes up to; None where nobody knows.
        quiet: show nothing, for ``--json``.
    """
    if quiet:
        yield _Quiet()
    elif sys.stderr.isatty():
        with _drawn(label, total) as bar:
            yield bar
    else:
        yield _Lines(label, total)


class _Quiet:
    def update(self, done: float, note: str = "") -> None:
        """Show nothing."""


class _Lines:
    def __init__(self, label: str, total: float | None) -> None:
        self.label, self.total, self.last = label, total, 0.0

    def update(self, done: float, note: str = "") -> None:
        now = time.monotonic()
        finished = self.total is not None and done >= self.total
        if finished or now - self.last >= _EVERY:
            self.last = now
            part = f"{done:g}" if self.total is None else f"{done:g}/{self.total:g}"
            globals()["note"](f"{self.label}: {part} {note}".rstrip())


@contextmanager
def _drawn(label: str, total: float | None) -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[said]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr)) as shown:
        task = shown.add_task(Text(label).plain, total=total, said="")

        class Drawn:
            def update(self, done: float, note: str = "") -> None:
                part = f"{done:g}" if total is None else f"{done:g}/{total:g}"
                shown.update(task, completed=done, said=f"{part} {note}".rstrip())

        yield Drawn()
