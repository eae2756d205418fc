from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_kit import ANCHOR, BASE, Shop

from understudy.cli.exit_codes import ExitCode
from understudy_sandbox.launch import Sandbox

GONE, TODAY, NEAR, EDGE, FAR = (
    "gpt-4o-2024-08-06",
    "gpt-4.1-nano-2025-04-14",
    BASE,
    "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-2025-04-14",
)


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory):
    days = {GONE: -2, TODAY: 0, NEAR: 30, EDGE: 90, FAR: 91}
    with Sandbox(
        tmp_path_factory.mktemp("ending"),
        api_key="sk-planted-4f1c9a77e0b2",
        clock="2028-03-01T00:00:00+00:00",
        clock_anchor=f"{ANCHOR:.3f}",
        shutdown=[f"{model}={left}" for model, left in days.items()],
    ) as sandbox:
        yield sandbox


@pytest.fixture
def late_shop(ending: Sandbox, tmp_path: Path, capsys, monkeypatch) -> Shop:
    """A shop whose clock, like its provider's, is in 2028."""
    shop = Shop(ending, tmp_path, capsys, monkeypatch)
    monkeypatch.setenv("UNDERSTUDY_CLOCK", f"2028-03-01T00:00:00+00:00,1,{ANCHOR:.3f}")
    return shop


@pytest.mark.parametrize(
    ("model", "day", "left"), [(NEAR, "2028-03-31", 30), (EDGE, "2028-05-30", 90)]
)
def test_an_end_within_90_days_is_a_warning_with_its_date(late_shop: Shop, model, day, left):
    late_shop.write_recipe(base=model)
    said = late_shop.call("run", "recipe.toml", "--detach")
    assert said.code == ExitCode.OK
    assert f"Warning: {model} ends on {day}, in {left} days (training and answers; " in said.err
    assert said.err.count("Warning") == 1


def test_an_end_that_is_far_is_not_mentioned(late_shop: Shop):
    late_shop.write_recipe(base=FAR)
    assert "Warning" not in late_shop.call("estimate", "recipe.toml").err


@pytest.mark.parametrize(("model", "day"), [(GONE, "2028-02-28"), (TODAY, "2028-03-01")])
def test_a_model_that_ended_is_refused_before_anything_is_sent(late_shop: Shop, model, day):
    late_shop.write_recipe(base=model)
    estimate = late_shop.call("estimate", "recipe.toml")
    assert estimate.code == ExitCode.OK
    assert f"no new job could start now: {model} ended on {day}" in estimate.err
    said = late_shop.call("run", "recipe.toml")
    assert said.code == ExitCode.BACKEND
    assert re.search(f"Error: {model} ended on {day} .* choose another base model", said.err)
    assert "Warning" not in said.err
    assert late_shop.call("jobs", "list", "--json").json == []


def test_without_a_key_an_estimate_warns_and_a_run_stops(late_shop: Shop, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    settings = late_shop.folder / "understudy.toml"
    settings.write_text(settings.read_text().replace('api_key_env = "BOX_KEY"', ""))
    said = late_shop.call("estimate", "recipe.toml")
    assert said.code == ExitCode.OK
    assert "Warning: no new job could start now: backend 'box' has no API key" in said.err
    said = late_shop.call("run", "recipe.toml")
    assert said.code == ExitCode.BACKEND
    assert "Set OPENAI_API_KEY, or name another variable: api_key_env in [backends.box]" in said.err
    assert late_shop.call("jobs", "list", "--json").json == []
