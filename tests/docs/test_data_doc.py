"""docs/data.md names every source and filter with its options, and its recipes are read."""

from __future__ import annotations

import importlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from understudy.data import filters, sources
from understudy.data.rows import row_parser
from understudy.recipe import Cleaning, Source

DOC = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def rows(first: str) -> dict[str, str]:
    found = re.findall(r"^\| (`[^|]+) \|(.+)\|$", DOC.split(first, 1)[1], re.MULTILINE)
    return {name: text for names, text in found for name in re.findall(r"`([^`]+)`", names)}


def options_of(target: str) -> set[str]:
    module, _, name = target.partition(":")
    fields: Any = getattr(importlib.import_module(module), name).Options.model_fields
    return set(fields)


def test_every_source_is_named() -> None:
    assert {*sources.PLAIN, *(spec.name for spec in sources.BUILTIN)} <= set(rows("## Sources"))


@pytest.mark.parametrize("spec", filters.BUILTIN, ids=lambda spec: spec.name)
def test_every_option_of_a_filter_is_named(spec: Any) -> None:
    told = rows("## Cleaning")[spec.name]
    words = set(re.findall(r"\w+", told))
    for option in options_of(spec.target):
        side, _, what = option.partition("_")
        joined = side in {"least", "most"} and spec.name == "length"
        assert option in words or (joined and what in words), option


def test_the_mapping_of_tables_is_told() -> None:
    words = set(re.findall(r"\w+", DOC))
    assert options_of("understudy.data.sources.tables:CsvFile") <= words


def test_the_call_of_the_document_is_a_row() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", DOC, re.DOTALL)
    row = row_parser("calls", Cleaning())(json.loads(text))
    assert row.example.source_id == "c-9"


def test_the_recipes_of_the_document_are_read(tmp_path: Path) -> None:
    blocks = [tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", DOC, re.DOTALL)]
    assert len(blocks) == 3
    for block in blocks:
        if "source" in block:
            source = Source(**block["source"])
            spec = sources.source_spec(source, {})
            assert spec is not None
            assert sources.checked_options(spec, source.options)["user"] == "question"
        else:
            cleaning = Cleaning(**block["cleaning"])
            filters.choose_filters(cleaning.filters, {})
            assert cleaning.filters or cleaning.near_duplicates
