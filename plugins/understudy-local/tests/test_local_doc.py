"""docs/local.md says what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from understudy.recipe import Export
from understudy_local.formats import FORMATS
from understudy_local.settings import LocalSettings

ROOT = Path(__file__).parents[3]
DOC = (ROOT / "docs/local.md").read_text(encoding="utf-8")
SOURCES = "".join(
    path.read_text(encoding="utf-8")
    for path in (ROOT / "plugins/understudy-local/src").rglob("*.py")
)


def blocks() -> list[dict[str, Any]]:
    found = re.findall(r"^```toml\n(.*?)^```$", DOC, re.DOTALL | re.MULTILINE)
    return [tomllib.loads(text) for text in found]


def test_the_recipe_section_is_the_default():
    (told,) = [block["export"] for block in blocks() if "export" in block]
    assert Export.model_validate(told) == Export()


def test_settings_are_known_and_their_defaults_are_told():
    settings = [block["backends"]["local"] for block in blocks() if "backends" in block]
    assert len(settings) == 2
    for told in settings:
        LocalSettings.model_validate(told)
    default = LocalSettings()
    assert {name: getattr(default, name) for name in settings[0]} == settings[0]


def test_every_format_is_named():
    assert {name for name in FORMATS if name not in DOC} == set()


def test_the_limits_are_those_of_the_code():
    assert (FORMATS["f16"].most_kl, FORMATS["f16"].least_top1) == (0.001, 0.99)
    assert "at most 0.001 nats" in DOC
    assert "at least 99 %" in DOC
    assert FORMATS["q8_0"].most_perplexity == 1.06
    assert "at most 1.06 times" in DOC


@pytest.mark.parametrize(
    "code", sorted(set(re.findall(r"^\|.*?\| (`[a-z_`, ]+`) \|", DOC, re.MULTILINE)))
)
def test_every_error_that_is_told_exists(code):
    for name in re.findall(r"`(\w+)`", code):
        assert f'code="{name}"' in SOURCES
