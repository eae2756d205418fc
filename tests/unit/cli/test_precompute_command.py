from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cli_kit import BASE, Shop

from understudy.batch import load_precompute
from understudy.cli.exit_codes import ExitCode

RECIPE = """\
name = "hot"

[input]
path = "asked.jsonl"

[ask]
backend = "box"
model = "{model}"
system = "Answer yes or no."
prompt = "Is {{{{ q }}}} hot?"
max_output_tokens = 200

[batch]
requests_a_batch = 10

[check]
sample = 2
{check}

[publish]
{publish}

[compare]
teacher = "gpt-4.1"

[budget]
limit_usd = {limit}
"""


@pytest.fixture
def kitchen(shop: Shop) -> Shop:
    rows = [{"q": f"{shop.folder.name} {number}"} for number in range(25)]
    lines = [*(json.dumps(row) for row in rows), json.dumps(rows[0]), "{broken"]
    (shop.folder / "asked.jsonl").write_text("\n".join(lines) + "\n")
    write(shop)
    return shop


def write(shop: Shop, **changes: Any) -> None:
    values = {"model": BASE, "check": "", "publish": "", "limit": 1} | changes
    (shop.folder / "hot.toml").write_text(RECIPE.format(**values))


def test_dry_run_sends_nothing_and_says_what_it_costs(kitchen: Shop) -> None:
    billed = kitchen.billed()
    said = kitchen.call("precompute", "hot.toml", "--dry-run")
    assert said.code == ExitCode.OK
    told = {row[0]: row[1] for row in said.rows if len(row) == 2}
    assert (told["rows"], told["duplicates"], told["rejected"]) == ("27", "1", "1")
    assert (told["to ask"], told["batches"]) == ("25", "3")
    assert told["cost expected / at most"].startswith("$")
    assert "rejects.jsonl" in said.err
    plan = kitchen.call("precompute", "hot.toml", "--dry-run", "--json").json
    assert plan["estimate"]["batches"] == 3
    assert kitchen.call("precompute", "list", "--json").json == []
    assert kitchen.billed() == billed


def test_a_run_from_the_recipe_to_the_cache(kitchen: Shop) -> None:
    said = kitchen.call("precompute", "hot.toml")
    assert said.code == ExitCode.OK, said.err
    told = {row[0]: row[1] for row in said.rows if len(row) == 2}
    assert (told["answered"], told["coverage"]) == ("25", "1.0000")
    assert told["agrees with live answers"] == "1.000 of 2"
    assert told["saved against the teacher"].startswith("$0.0")
    assert "rows settled: 25/25" in said.err
    report = kitchen.call("precompute", "show", "hot", "--json").json
    assert report["state"] == "done"
    assert report["result"]["entries"] == 25
    assert [one["to"] for one in report["history"]] == ["finishing", "done"]
    (line,) = kitchen.call("precompute", "list", "--json").json
    assert (line["id"], line["answered"], line["to_do"]) == (report["id"], 25, 0)
    again = kitchen.call("precompute", "run", "hot.toml")
    assert again.code == ExitCode.OK
    assert "it is done" in again.err


def test_detached_a_worker_drives_it(kitchen: Shop) -> None:
    said = kitchen.call("precompute", "hot.toml", "--detach", "--json")
    assert said.json["state"] == "running"
    worked = kitchen.call("worker", "--drain")
    assert "running -> finishing: every row is accounted for" in worked.err
    assert kitchen.call("precompute", "show", "hot", "--json").json["state"] == "done"


def test_strict_withholds_and_publish_overrides(kitchen: Shop) -> None:
    kitchen.sandbox.faults({"on": "batches.create", "do": "filter_rows", "fraction": 0.5})
    said = kitchen.call("precompute", "hot.toml", "--strict", "0.99")
    kitchen.sandbox.faults()
    assert said.code == ExitCode.REJECTED
    assert "below 0.99" in said.err
    assert "precompute publish" in said.err
    published = kitchen.call("precompute", "publish", "hot")
    assert published.code == ExitCode.OK
    assert kitchen.call("precompute", "show", "hot", "--json").json["state"] == "done"


def test_cancel_and_go_on(kitchen: Shop) -> None:
    kitchen.call("precompute", "hot.toml", "--detach")
    assert kitchen.call("precompute", "cancel", "hot").code == ExitCode.OK
    kitchen.call("worker", "--drain")
    assert kitchen.call("precompute", "show", "hot", "--json").json["state"] == "cancelled"
    assert kitchen.call("precompute", "retry", "hot").code == ExitCode.OK
    kitchen.call("worker", "--drain")
    assert kitchen.call("precompute", "show", "hot", "--json").json["state"] == "done"


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"limit": "0.0000001"}, ExitCode.BUDGET, "Nothing was sent"),
        ({"model": "gpt-99"}, ExitCode.USAGE, "no price is known"),
        ({"check": 'scorer = "exact"'}, ExitCode.USAGE, "name its field in [input] reference"),
        ({"check": 'json_schema = "gone.json"'}, ExitCode.USAGE, "gone.json"),
        ({"publish": "coverege = 0.5"}, ExitCode.USAGE, "did you mean 'coverage'"),
    ],
)
def test_what_cannot_work_says_why(
    kitchen: Shop, changes: dict[str, Any], code: ExitCode, said: str
) -> None:
    write(kitchen, **changes)
    told = kitchen.call("precompute", "hot.toml")
    assert (told.code, said in told.err) == (code, True), told.err


def test_an_input_that_is_not_there(kitchen: Shop) -> None:
    Path(kitchen.folder / "asked.jsonl").unlink()
    told = kitchen.call("precompute", "hot.toml")
    assert told.code == ExitCode.BAD_DATA
    assert "asked.jsonl: cannot be read: No such file" in told.err


def test_an_unknown_run_names_the_nearest(kitchen: Shop) -> None:
    kitchen.call("precompute", "hot.toml", "--detach")
    told = kitchen.call("precompute", "show", "hut")
    assert told.code == ExitCode.USAGE
    assert "there is no batch run 'hut'" in told.err


def test_the_python_of_the_docs_runs(kitchen: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[3] / "docs/precompute.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (kitchen.folder / "hot.toml").rename(kitchen.folder / "precompute.toml")
    exec(compile(code, "docs/precompute.md", "exec"), {})
    assert "25 answered for 0.0" in capsys.readouterr().out


def test_the_recipe_of_the_docs_is_one(kitchen: Shop) -> None:
    text = (Path(__file__).parents[3] / "docs/precompute.md").read_text()
    (recipe,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (kitchen.folder / "intent.schema.json").write_text("{}")
    (kitchen.folder / "docs.toml").write_text(recipe)
    assert load_precompute(kitchen.folder / "docs.toml").publish.coverage == 0.99
