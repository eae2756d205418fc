from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from cli_kit import Shop

from understudy.cli.app import COMMANDS, _import
from understudy.cli.exit_codes import ExitCode
from understudy.config import load_config
from understudy.plugins import PluginHost
from understudy.recipe import load_recipe

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
FIRST_PARTY = ("understudy-openai", "understudy-sandbox")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def table() -> dict[str, str]:
    """Command -> what the table says of it."""
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", README, re.MULTILINE)
    return {name: told for names, told in rows for name in re.findall(r"`(.+?)`", names)}


def test_the_table_names_every_command_of_the_core_and_of_its_plugins():
    host = PluginHost()
    brought = {
        command
        for info in host.plugins()
        if info.distribution in FIRST_PARTY
        for thing in info.provides
        if (command := thing.removeprefix("command ")) != thing
    }
    assert {"demo", "serve sandbox"} <= brought
    assert set(table()) == set(COMMANDS) | brought


@pytest.mark.parametrize(
    "name", [name for name, (target, _) in COMMANDS.items() if ":app" in target]
)
def test_the_table_names_every_command_of_a_group(name):
    group: Any = typer.main.get_command(_import(COMMANDS[name][0])())
    listed = re.split(r"[,:] ", re.sub(r" \(.*?\)", "", table()[name]))
    assert set(group.commands) <= set(listed)


def test_the_exit_codes_are_those_of_the_process():
    told = re.search(r"Exit codes: (.*?)\.\n\n", README, re.DOTALL)
    assert told
    listed = [int(part.split()[0]) for part in " ".join(told[1].split()).split(", ")]
    assert listed == [int(code) for code in ExitCode]


def test_every_toml_block_is_a_recipe_or_settings(tmp_path):
    found = blocks("toml")
    assert found
    for text in found:
        file = tmp_path / "block.toml"
        file.write_text(text, encoding="utf-8")
        if "train" in tomllib.loads(text):
            load_recipe(file)
            continue
        config = load_config(file, env={"OPENAI_API_KEY": "sk-none"})
        for name in config.backends:
            PluginHost().make_backend(name, config).close()


def test_the_python_of_the_readme_runs_to_the_verdict(shop: Shop, capsys):
    (code,) = blocks("python")
    capsys.readouterr()
    exec(compile(code, "README.md", "exec"), {})
    first, last = capsys.readouterr().out.splitlines()
    assert re.match(r"at most 0\.\d+ US dollars;", first)
    assert re.fullmatch(r"ready for 0\.\d+ US dollars: intents@1", last)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[1] == last, "run again, it is found"
    assert len(shop.remote_jobs(shop.job()["id"])) == 1
