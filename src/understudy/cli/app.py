"""The root of the command line: the table of commands, plugin commands, errors to exit codes."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from understudy import __version__
from understudy.cli.context import Session
from understudy.cli.lazy import LazyCommand, LazyGroup

__all__ = ["COMMANDS", "build", "run"]

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("understudy.cli.init:init", "Write a commented recipe to start from."),
    "estimate": ("understudy.cli.estimate:estimate", "What a run would train on and cost."),
    "run": ("understudy.cli.run:run", "Run a recipe to its verdict."),
    "worker": ("understudy.cli.worker:worker", "Drive everything in the store."),
    "jobs": ("understudy.cli.jobs:app", "List, follow and steer jobs."),
    "precompute": (
        "understudy.cli.precompute:app",
        "Answer known inputs by batch, into a cache generation.",
    ),
    "models": ("understudy.cli.models:app", "Model versions and the aliases that name them."),
    "deployments": (
        "understudy.cli.deployments:app",
        "What is deployed, what it costs; start, scale, stop.",
    ),
    "cache": (
        "understudy.cli.cache:app",
        "Precomputed answers: what is there, switching back, files, planning.",
    ),
    "datasets": ("understudy.cli.datasets:app", "Datasets and the rows that they left out."),
    "backends": ("understudy.cli.backends:backends", "What each backend can do, and why not."),
    "plugins": ("understudy.cli.plugins:plugins", "Plugins found, and what is wrong with any."),
    "doctor": ("understudy.cli.doctor:doctor", "Check settings, plugins and backends."),
}
"""Name -> (``"module:function"`` or ``"module:app"``, one line of help), in the order of help."""

# Trouble of disks and rights, which is nobody's bug.
_OF_THE_MACHINE = frozenset(
    {errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS}
)

_EPILOG = (
    "Exit codes: 0 done, 1 unexpected, 2 usage or settings, 3 bad data, 4 provider, 5 budget, "
    "6 needs attention, 7 rejected, 8 job failed, 9 job cancelled, 130 interrupted."
)


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code. Errors become one message on stderr.

    A command returns its exit code or None, or raises ``typer.Exit``.
    """
    session = Session(reserved=tuple(COMMANDS))
    try:
        result = build(session).main(
            args=list(argv), prog_name="understudy", standalone_mode=False, obj=session
        )
    except TyperException as error:
        # Wrong usage: Typer knows how to show the command's own help line.
        getattr(error, "show", partial(_complain, str(error)))()
        _hint_at_plugins(session)
        return int(getattr(error, "exit_code", 2))
    except (typer.Abort, KeyboardInterrupt):
        _complain("interrupted")
        return 130
    except Exception as error:  # noqa: BLE001 - the last place where an error can be put into words
        return _report(error)
    return result if isinstance(result, int) else 0


def build(session: Session) -> Any:
    """The root command. Nothing behind it is imported yet."""
    # Help is plain: Rich's help formatter alone costs a third of the time that --help may take.
    app = typer.Typer(cls=LazyGroup, no_args_is_help=True, epilog=_EPILOG, rich_markup_mode=None)
    app.callback()(_root)
    root = typer.main.get_command(app)
    assert isinstance(root, LazyGroup)
    for name, (target, help_line) in COMMANDS.items():
        root.add_command(LazyCommand(name, help=help_line, load=_import(target)))
    root.find_more_with(lambda: _plugin_commands(session))
    return root


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"understudy {__version__}")
        raise typer.Exit


def _root(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="Settings file; default: understudy.toml if it is there.")
    ] = None,
    version: Annotated[  # noqa: ARG001 - its callback has ended the call
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Train a small model to take over a narrow job from a big one."""
    found = ctx.find_object(Session)
    if found is not None:
        found.config_path = config


def _import(target: str) -> Callable[[], Any]:
    def load() -> Any:
        module, _, name = target.partition(":")
        return getattr(importlib.import_module(module), name)

    return load


def _plugin_commands(session: Session) -> Mapping[str, Any]:
    """Commands of plugins; the first word of a two-word name becomes a group."""
    host = session.host
    mounted: dict[str, Any] = {}
    for name, spec in host.commands().items():
        word, _, rest = name.partition(" ")
        lazy = LazyCommand(rest or word, help=spec.help, load=partial(host.command, name))
        if not rest:
            mounted[word] = lazy
            continue
        group = mounted.get(word)
        if not isinstance(group, LazyGroup):
            group = mounted[word] = LazyGroup(
                name=word, no_args_is_help=True, rich_markup_mode=None
            )
        group.add_command(lazy)
        group.help = f"Commands of plugins: {', '.join(group.commands)}."
    return mounted


def _hint_at_plugins(session: Session) -> None:
    """A command may be unknown because its plugin is broken."""
    wrong = [info.distribution for info in session.host.plugins() if info.status != "ok"]
    if wrong:
        sys.stderr.write(f"Not usable: {', '.join(wrong)}; `understudy plugins` says why.\n")


def _report(error: Exception) -> int:
    from understudy.cli.exit_codes import ExitCode, code_for_error
    from understudy.errors import UnderstudyError
    from understudy.secrets import redact

    if os.environ.get("UNDERSTUDY_DEBUG"):
        sys.stderr.write(redact("".join(traceback.format_exception(error))))
    message = redact(str(error))
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        place = f"{error.filename}: " if error.filename else ""
        _complain(f"{place}{error.strerror}. Mend that, or name another place, and run it again.")
        return int(ExitCode.USAGE)
    if not isinstance(error, UnderstudyError):
        message = (
            f"unexpected {type(error).__name__}: {message}\n"
            "Run it again with UNDERSTUDY_DEBUG=1 to see where, and please report it."
        )
    _complain(message)
    return int(code_for_error(error))


def _complain(message: str) -> None:
    sys.stderr.write(f"Error: {message}\n")
