"""docs/langfuse.md: its settings load, its options are all there, its code runs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from langfuse_kit import PUBLIC_KEY, root
from understudy.config import resolve_settings
from understudy_langfuse.options import LangfuseOptions
from understudy_langfuse.settings import LangfuseSettings

TEXT = (Path(__file__).parents[3] / "docs" / "langfuse.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def test_the_settings_and_the_options_are_valid() -> None:
    services, source = (tomllib.loads(block) for block in blocks("toml"))
    env = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_EU_SECRET": "sk-lf-1"}
    table = services["services"]["langfuse"]
    assert resolve_settings(LangfuseSettings, table, env, where="docs").attempts == 6
    assert LangfuseOptions(**source["source"]["options"]).min_score == {"helpful": 0.5}


def test_every_option_is_told_with_its_default() -> None:
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| .* \| (.+) \|$", TEXT, re.MULTILINE)
    told = {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    assert told.keys() == LangfuseOptions.model_fields.keys()
    for name in ("settle", "late", "page_size"):
        assert f"{LangfuseOptions.model_fields[name].default:g}" == told[name].strip("`")


def test_every_variable_is_told() -> None:
    assert all(variable in TEXT for variable in LangfuseSettings.env.values())


@pytest.mark.usefixtures("sandbox")
def test_the_code_runs(sandbox, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", PUBLIC_KEY)
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", sandbox.api_key)
    monkeypatch.setenv("LANGFUSE_BASE_URL", root(sandbox))
    (code,) = blocks("python")
    exec(compile(code, "docs/langfuse.md", "exec"), {})
    assert re.fullmatch(r"http://\S+baseline=\w{16} 0\n", capsys.readouterr().out)
