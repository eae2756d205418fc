"""Datasets from the command line: collect, build, golden, export."""

from __future__ import annotations

import json

from cli_kit import Shop

from understudy.cli.exit_codes import ExitCode


def test_a_dataset_is_built_locked_and_written_in_other_rows(shop: Shop):
    built = shop.call("datasets", "build", "recipe.toml", "--json").json
    again = shop.call("datasets", "build", "recipe.toml", "--engine", "local")
    assert again.out.startswith(f"{built['id']}: ")
    assert built["id"] in shop.call("datasets", "list").out

    golden = shop.folder / "golden"
    locked = shop.call("datasets", "golden", built["id"], str(golden), "--size", "3", "--json").json
    assert (locked["version"], locked["rows"]) == (1, 3)
    assert len((golden / "v1.jsonl").read_text("utf-8").splitlines()) == 3
    said = shop.call("datasets", "golden", built["id"], str(golden), "--size", "4")
    assert "v2: 4 rows" in said.out
    assert "held_out" in said.err

    place = shop.folder / "vertex"
    written = shop.call("datasets", "export", built["id"], str(place), "--to", "vertex", "--json")
    assert written.json["train.jsonl"] == built["splits"]["train"]["rows"]
    row = json.loads((place / "train.jsonl").read_text("utf-8").splitlines()[0])
    assert [content["role"] for content in row["contents"]] == ["user", "model"]
    refused = shop.call("datasets", "export", built["id"], str(place), "--to", "trl")
    assert refused.code == ExitCode.BAD_DATA
    assert "choose another folder" in refused.err


def test_filters_and_near_duplicates_of_a_recipe_act(shop: Shop):
    path = shop.folder / "recipe.toml"
    text = path.read_text("utf-8")
    cleaning = (
        '[cleaning]\nheld_out = "known.jsonl"\n'
        '[[cleaning.filters]]\nuse = "length"\nmost_words = 8\n[split]'
    )
    path.write_text(text.replace("[split]", cleaning, 1))
    rows = (shop.folder / "rows.jsonl").read_text("utf-8").splitlines()
    (shop.folder / "known.jsonl").write_text(rows[0])
    summary = shop.call("datasets", "build", "recipe.toml", "--json").json
    assert summary["rejected"]["too_long"] > 0
    assert summary["rejected"]["broken_json"] == 1


def test_what_cannot_be_collected_or_reached_is_told(shop: Shop):
    said = shop.call("datasets", "collect", "recipe.toml")
    assert said.code == ExitCode.USAGE
    assert "'chat' reads files" in said.err
    said = shop.call("datasets", "build", "recipe.toml", "--address", "127.0.0.1:1")
    assert said.code == ExitCode.USAGE
    assert "--engine ray" in said.err
    said = shop.call(
        "datasets", "build", "recipe.toml", "--engine", "ray", "--address", "127.0.0.1:1"
    )
    assert said.code == ExitCode.USAGE
    assert "cannot be reached" in said.err
