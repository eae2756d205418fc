from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from understudy.cli.app import run
from understudy.cli.context import Session
from understudy.plugins import GROUP, PluginHost
from understudy.recipe import load_recipe
from understudy.testing import FakeProvider

FAKE = EntryPoint("fake", "understudy.testing.fake_plugin", GROUP)
SECRET = "sk-planted-0123456789"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("UNDERSTUDY_CONFIG", "UNDERSTUDY_STORE", "UNDERSTUDY_FAKE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Session, "host", PluginHost(entry_points=[FAKE]))
    monkeypatch.setattr(FakeProvider, "named", {"default": FakeProvider(secret=SECRET)})
    return tmp_path


def configure(folder: Path) -> None:
    text = '[backends.mine]\nuses = "fake"\napi_key_env = "MINE_KEY"\n'
    (folder / "understudy.toml").write_text(text)


def test_backends_shows_the_matrix_with_reasons(capsys, here):
    configure(here)
    assert run(["backends"]) == 0
    header, row, *reasons = capsys.readouterr().out.splitlines()
    cells = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    assert cells["backend"] == "fake"
    assert cells["configured as"] == "mine"
    assert (cells["poll many"], cells["deploy"]) == ("yes", "no")
    assert "fake: deploy: the fake provider has no such thing" in reasons


def test_backends_as_json(capsys):
    assert run(["backends", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["name"] == "fake"
    assert record["capabilities"]["deploy"]["reason"] == "the fake provider has no such thing"
    assert record["configured_as"] == []


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("recipe.toml", "my-student"),
        ("Ticket Triage!.toml", "ticket-triage"),
        ("deep/folder/x.toml", "x"),
        ("!!!.toml", "my-student"),
    ],
)
def test_init_writes_a_recipe_that_loads(capsys, here, file, name):
    assert run(["init", file]) == 0
    recipe = load_recipe(here / file)
    assert (recipe.name, recipe.alias) == (name, name)
    assert f"Wrote {file}" in capsys.readouterr().out


def test_every_line_that_init_comments_out_can_be_used(here):
    assert run(["init"]) == 0
    file = here / "recipe.toml"
    lines = file.read_text().splitlines()
    used = [line[2:] if line.startswith("# ") and " = " in line else line for line in lines]
    assert sum(one != two for one, two in zip(lines, used, strict=True)) >= 6
    file.write_text("\n".join(used))
    recipe = load_recipe(file)
    assert recipe.budget.name == "shared"
    assert recipe.cleaning.min_score == {"helpful": 0.7}
    assert recipe.train.hyperparameters == {"n_epochs": 3}


def test_init_leaves_a_file_alone(capsys, here):
    (here / "recipe.toml").write_text("mine")
    assert run(["init"]) == 2
    assert (here / "recipe.toml").read_text() == "mine"
    assert "is there already" in capsys.readouterr().err


def test_init_into_a_place_that_cannot_be_written(capsys, here):
    (here / "file").write_text("")
    assert run(["init", "file/recipe.toml"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_doctor_is_well(capsys, here, monkeypatch):
    configure(here)
    monkeypatch.setenv("MINE_KEY", SECRET)
    assert run(["doctor", "--json"]) == 0
    out = capsys.readouterr().out
    checks = {item["name"]: item for item in json.loads(out)}
    assert checks["backend mine: key"]["detail"] == "the provider takes the key"
    assert checks["plugin fake"]["ok"]
    assert "lease seconds 120" in checks["worker"]["detail"]
    assert checks["clock"]["detail"].endswith("1 times as fast")
    assert SECRET not in out


def test_doctor_finds_a_wrong_key(capsys, here, monkeypatch):
    configure(here)
    monkeypatch.setenv("MINE_KEY", "sk-wrong-0123456789")
    assert run(["doctor"]) == 4
    out, err = capsys.readouterr()
    assert "FAILED\tbackend mine: key" in out
    assert "set UNDERSTUDY_FAKE_KEY" in out
    assert "sk-wrong" not in out + err


def test_doctor_finds_a_missing_key_and_an_unknown_backend(capsys, here):
    configure(here)
    assert run(["doctor"]) == 4
    assert "MINE_KEY, which is not set" in capsys.readouterr().out
    assert run(["doctor", "fke"]) == 4
    assert "did you mean 'fake'" in capsys.readouterr().out


def test_doctor_finds_a_place_for_datasets_that_cannot_be_written(capsys, here):
    (here / "file").write_text("")
    (here / "understudy.toml").write_text('[data]\nroot = "file/datasets"\n')
    assert run(["doctor"]) == 4
    assert "file/datasets cannot be written\tmake " in capsys.readouterr().out


def test_doctor_hides_the_store_password(capsys, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_STORE", f"postgresql://me:{SECRET}@localhost:1/db")
    assert run(["doctor"]) == 4
    out, err = capsys.readouterr()
    assert "postgresql://me:***@localhost:1/db cannot be opened" in out
    assert SECRET not in out + err


def test_a_broken_settings_file_is_a_usage_error(capsys, here):
    (here / "understudy.toml").write_text("[backend.x]\n")
    assert run(["doctor"]) == 2
    assert "did you mean 'backends'" in capsys.readouterr().err
