"""docs/cache.md: its code runs, its settings load, and it names every command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer

from understudy.cache.opening import BUILTIN
from understudy.cli.cache import app
from understudy.config import CacheSettings, load_config

TEXT = (Path(__file__).parents[2] / "docs" / "cache.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_code_asks_live_once_and_then_the_cache(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(block("python"), "docs/cache.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == [
        "student there is none 0.000003",
        "cache lost_card 0",
    ]


def test_the_settings_are_the_defaults(tmp_path):
    file = tmp_path / "understudy.toml"
    file.write_text(block("toml"), encoding="utf-8")
    empty = tmp_path / "empty.toml"
    empty.write_text("", encoding="utf-8")
    assert load_config(file, env={}).cache == load_config(empty, env={}).cache
    assert set(re.findall(r"^#? ?(\w+) =", block("toml"), re.MULTILINE)) == set(
        CacheSettings.model_fields
    )


def test_every_store_of_the_core_is_there():
    assert {spec.name for spec in BUILTIN} == set(re.findall(r"`(\w+)://[^`]*`", TEXT))


def test_the_commands_of_files_and_planning_are_there():
    group: Any = typer.main.get_command(app)
    assert {"export", "import", "warm", "plan"} <= set(group.commands)
    for name in ("cache export", "import", "warm", "cache plan"):
        assert re.search(rf"`?(understudy )?{name}\b", TEXT)
