"""Commands that are imported when they are run, so that ``--help`` imports none of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["LazyCommand", "LazyGroup", "as_command"]


def as_command(target: Any, name: str) -> Any:
    """A Typer app, or a function with Typer annotations, as a command named ``name``."""
    app = target
    if not isinstance(target, typer.Typer):
        app = typer.Typer(add_completion=False)
        app.command(name)(target)
    app.rich_markup_mode = None
    command = typer.main.get_command(app)
    command.name = name
    return command


class LazyCommand(TyperCommand):
    """Stands in lists with its ``help``; becomes what ``load`` returns when it is run.

    Args:
        name: what the user types.
        help: one line for lists.
        load: imports the Typer app or function.
    """

    def __init__(self, name: str, *, help: str, load: Callable[[], Any]) -> None:  # noqa: A002
        super().__init__(name, help=help, short_help=help, rich_markup_mode=None)
        self.load = load

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> Any:
        """Import the command and let it parse ``args``."""
        command = as_command(self.load(), self.name or "")
        return command.make_context(info_name, args, *more, **extra)


class LazyGroup(TyperGroup):
    """A group whose further commands are looked up only when they are needed.

    ``find_more_with`` says how. It is asked for help and for names that ``commands`` does not
    have, and at most once.
    """

    _more: Callable[[], Mapping[str, Any]] | None = None

    def find_more_with(self, more: Callable[[], Mapping[str, Any]]) -> None:
        """Let ``more`` return further commands by name; those known already win."""
        self._more = more

    def list_commands(self, ctx: Any) -> list[str]:
        """All names: those known from the start first."""
        self._find_more()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command ``cmd_name``, not yet imported, or None."""
        if cmd_name not in self.commands:
            self._find_more()
        return super().get_command(ctx, cmd_name)

    def _find_more(self) -> None:
        more, self._more = self._more, None
        for name, command in (more() if more else {}).items():
            self.commands.setdefault(name, command)
