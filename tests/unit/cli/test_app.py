from __future__ import annotations

import errno
import json
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest
import typer

import understudy.cli.app as cli
from understudy import __version__, errors
from understudy.cli.context import Session, session
from understudy.plugins import GROUP, PluginHost
from understudy.states import State


def boom(kind: str) -> None:
    """Fail in the way that is asked for."""
    known = {
        "config": errors.ConfigError("a setting"),
        "plugin": errors.PluginLoadError("a plugin"),
        "data": errors.DataError("a row", file="x.jsonl", line=3),
        "backend": errors.Unavailable("a provider with sk-planted-0123456789"),
        "disk": PermissionError(errno.EACCES, "Permission denied", "a folder"),
        "unexpected": KeyError("sk-planted-0123456789"),
        "abort": typer.Abort(),
        "interrupt": KeyboardInterrupt(),
        "exit": typer.Exit(7),
    }
    raise known[kind]


def answer(ctx: typer.Context, *, loud: bool = False) -> int:
    """Show what the session knows."""
    sys.stdout.write(f"{session(ctx).config_path} {loud}\n")
    return 6


@pytest.fixture(autouse=True)
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two commands of the core, and one plugin with two more, in a folder without settings."""
    module = ModuleType("cli_under_test")
    module.boom, module.answer = boom, answer
    plugin = ModuleType("cli_plugin_under_test")
    source = """
from understudy.hookspecs import CommandSpec, hookimpl
@hookimpl
def understudy_commands():
    yield CommandSpec(name="extra", target="cli_under_test:answer", help="An extra one.")
    yield CommandSpec(name="serve this", target="cli_under_test:answer", help="Serve this.")
    yield CommandSpec(name="serve that", target="no_such_module:x", help="Serve that.")
"""
    exec(source, vars(plugin))
    for each in (module, plugin):
        monkeypatch.setitem(sys.modules, each.__name__, each)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNDERSTUDY_CONFIG", raising=False)
    monkeypatch.delenv("UNDERSTUDY_DEBUG", raising=False)
    extra = {
        "boom": ("cli_under_test:boom", "Fail."),
        "answer": ("cli_under_test:answer", "Answer."),
    }
    monkeypatch.setattr(cli, "COMMANDS", {**cli.COMMANDS, **extra})
    entries = [
        EntryPoint("extra", "cli_plugin_under_test", GROUP),
        EntryPoint("broken", "no_such_plugin", GROUP),
    ]
    monkeypatch.setattr(
        Session, "host", PluginHost(entry_points=entries, reserved_commands=cli.COMMANDS)
    )


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("config", 2, "Error: a setting"),
        ("plugin", 2, "Error: a plugin"),
        ("data", 3, "Error: x.jsonl:3: a row"),
        ("backend", 4, "Error: a provider with [redacted]"),
        ("disk", 2, "Error: a folder: Permission denied. Mend that, or name another place"),
        ("unexpected", 1, "Error: unexpected KeyError: '[redacted]'"),
        ("abort", 130, "Error: interrupted"),
        ("interrupt", 130, ""),
        ("exit", 7, ""),
    ],
)
def test_errors_become_one_message_and_a_code(capsys, kind, code, words):
    assert cli.run(["boom", kind]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(words)
    assert "Traceback" not in err


def test_debug_shows_the_traceback_without_secrets(capsys, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_DEBUG", "1")
    assert cli.run(["boom", "backend"]) == 4
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "planted-0123456789" not in err


def test_a_command_returns_its_code_and_sees_the_session(capsys):
    assert cli.run(["--config", "my.toml", "answer", "--loud"]) == 6
    assert capsys.readouterr().out == "my.toml True\n"


def test_help_lists_core_and_plugin_commands_without_importing_them(capsys):
    assert cli.run(["--help"]) == 0
    out = capsys.readouterr().out
    for words in ("boom", "plugins", "extra", "An extra one.", "serve", "that, this", "Exit codes"):
        assert words in out


def test_plugin_commands_run(capsys):
    assert cli.run(["extra"]) == 6
    assert cli.run(["serve", "this", "--loud"]) == 6
    assert capsys.readouterr().out == "None False\nNone True\n"


def test_a_plugin_command_that_breaks_says_so_and_its_group_still_has_help(capsys):
    assert cli.run(["serve", "--help"]) == 0
    assert "Serve that." in capsys.readouterr().out
    assert cli.run(["serve", "that"]) == 2
    assert "no_such_module" in capsys.readouterr().err


@pytest.mark.parametrize("line", [["nope"], ["boom"], ["answer", "--loudd"], ["serve", "nope"]])
def test_wrong_usage_is_2_and_names_broken_plugins(capsys, line):
    assert cli.run(line) == 2
    err = capsys.readouterr().err
    assert "Usage: understudy" in err
    assert "Not usable: no_such_plugin" in err


def test_a_near_miss_is_suggested(capsys):
    assert cli.run(["answr"]) == 2
    assert "Did you mean 'answer'" in capsys.readouterr().err


def test_version(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"understudy {__version__}\n"


def test_own_help_of_a_lazy_command(capsys):
    assert cli.run(["answer", "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: understudy answer")
    assert "--loud" in out
    assert "Show what the session knows." in out


def test_every_command_of_the_core_loads(capsys, monkeypatch):
    monkeypatch.undo()
    for name in cli.COMMANDS:
        assert cli.run([name, "--help"]) == 0
        assert f"Usage: understudy {name}" in capsys.readouterr().out


def test_plugins_lists_the_broken_one(capsys):
    assert cli.run(["plugins", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [(r["name"], r["status"]) for r in records] == [("broken", "failed"), ("extra", "ok")]
    assert records[1]["provides"] == ["command extra", "command serve that", "command serve this"]


def test_exit_codes_cover_every_error_and_state():
    from understudy.cli import exit_codes
    from understudy.cli.exit_codes import ExitCode, code_for_error, code_for_state

    assert code_for_error(errors.OutcomeUnknown("x")) == 4
    assert code_for_error(errors.IllegalTransition("x")) == 2
    assert code_for_error(errors.StaleRecord("x")) == 1
    assert code_for_error(KeyboardInterrupt()) == 130
    codes = {state.value: int(code_for_state(state)) for state in State}
    assert {name: code for name, code in codes.items() if code} == {
        "needs_attention": 6,
        "rejected": 7,
        "failed": 8,
        "cancelled": 9,
    }
    documented = (exit_codes.__doc__ or "").splitlines()
    for code in ExitCode:
        assert any(line.split()[:1] == [str(int(code))] for line in documented), code
