"""``understudy deployments`` and what a run leaves behind, on a provider that deploys."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cli_kit import Said

from understudy.cli.app import COMMANDS, run
from understudy.cli.context import Session
from understudy.cli.exit_codes import ExitCode
from understudy.clock import FastClock
from understudy.hookspecs import PriceTable, hookimpl
from understudy.plugins import GROUP, PluginHost
from understudy.testing import DeployingFakeProvider
from understudy.testing.fake_provider import FakeHTTPError

START = "2027-03-01T00:00:00+00:00"
SPEED = 300
PRICES = """
[tiers.fake]
default = "standard"
[[sheet]]
provider = "fake"
as_of = 2026-11-22
source = "made up for tests"
confidence = "listed"
training = [
  { models = ["*"], usd_per_million = "10" },
  { models = ["*"], tier = "developer", usd_per_million = "5" },
]
hosting = [
  { models = ["*"], usd_per_hour = "1.70" },
  { models = ["*"], tier = "developer", usd_per_hour = "0" },
]
inference = [
  { models = ["*"], fine_tuned = true, input = "0.4", cached = "0.1", output = "1.6" },
  {models=["*"], tier="developer", fine_tuned=true, input="0.4", cached="0.1", output="1.6"},
  { models = ["teacher"], fine_tuned = false, input = "2", cached = "0.5", output = "8" },
]
"""
SETTINGS = """
[worker]
poll_seconds = 5
poll_max_seconds = 20

[backends.mine]
uses = "fake-deploying"
provider = "{name}"
"""
RECIPE = """
name = "intents"
alias = "intents"
[source]
kind = "chat"
path = "rows.jsonl"
[split]
train = 0.6
validation = 0.1
test = 0.3
[train]
backend = "mine"
base_model = "small"
[evaluation]
bar = 0.3
[deployment]
evaluation_sku = "{sku}"
evaluation_hours = {hours}
[budget]
limit_usd = {limit}
"""


class Home:
    """A project folder on a provider that deploys."""

    def __init__(self, folder: Path, house: DeployingFakeProvider, name: str, capsys: Any) -> None:
        self.folder, self.house, self.name, self._capsys = folder, house, name, capsys
        (folder / "understudy.toml").write_text(SETTINGS.format(name=name))
        lines = [
            {"messages": [{"role": r, "content": f"word {n}"} for r in ("user", "assistant")]}
            for n in range(60)
        ]
        (folder / "rows.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n")
        self.write_recipe()

    def write_recipe(self, *, sku: str = "standard", hours: int = 24, limit: int = 500) -> None:
        text = RECIPE.format(sku=sku, hours=hours, limit=limit)
        (self.folder / "recipe.toml").write_text(text)

    def call(self, *argv: str) -> Said:
        self._capsys.readouterr()
        code = run(list(argv))
        told = self._capsys.readouterr()
        return Said(code, told.out, told.err)

    def listed(self, *argv: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("deployments", "list", "--json", *argv).json
        return found


@pytest.fixture
def home(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Home]:
    anchor = time.time()
    monkeypatch.setenv("UNDERSTUDY_CLOCK", f"{START},{SPEED},{anchor:.3f}")
    monkeypatch.chdir(tmp_path)
    name = f"house-{tmp_path.name}"
    from understudy.clock import clock_from

    clock = clock_from(f"{START},{SPEED},{anchor:.3f}")
    assert isinstance(clock, FastClock)
    house = DeployingFakeProvider(clock=clock)
    DeployingFakeProvider.named[f"{name}+deploying"] = house
    table = tmp_path / "prices.toml"
    table.write_text(PRICES)
    module = ModuleType("prices_under_test")

    @hookimpl
    def understudy_price_tables() -> Iterator[PriceTable]:
        yield PriceTable(name="fake", path=str(table))

    module.understudy_price_tables = understudy_price_tables  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "prices_under_test", module)
    entries = [
        EntryPoint("fake", "understudy.testing.fake_deploying", GROUP),
        EntryPoint("prices", "prices_under_test", GROUP),
    ]
    monkeypatch.setattr(
        Session, "host", PluginHost(entry_points=entries, reserved_commands=COMMANDS)
    )
    yield Home(tmp_path, house, name, capsys)
    del DeployingFakeProvider.named[f"{name}+deploying"]


def test_a_finished_run_leaves_nothing_up_and_tells_its_hosting(home: Home):
    said = home.call("run", "recipe.toml", "--json")
    assert said.code == ExitCode.OK, said.err
    assert home.house.standing() == []
    (one,) = said.json["deployments"]
    assert (one["state"], one["purpose"], one["sku"]) == ("stopped", "evaluation", "standard")
    costs = {line["kind"]: line for line in said.json["cost"]["lines"]}
    assert float(costs["hosting"]["spent"]) * 10**9 >= home.house.hosting_nanos > 0
    assert costs["hosting"]["reserved"] == "0"
    told = home.call("jobs", "show", said.json["job"]["id"])
    assert f"deployment {one['name']}" in {row[0] for row in told.rows}


def test_a_run_that_was_stopped_before_the_take_down_takes_it_down_when_run_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    from understudy.cli import following

    with monkeypatch.context() as patch:
        patch.setattr(following, "_wind_up", lambda *_args, **_options: None)
        home.house.stop_seconds = 10**6
        assert home.call("run", "recipe.toml", "--json").code == ExitCode.OK
    assert home.house.standing()
    home.house.stop_seconds = 1
    said = home.call("run", "recipe.toml")
    assert said.code == ExitCode.OK, said.err
    assert home.house.standing() == []


def test_the_budget_must_hold_the_hosting_before_anything_is_sent(home: Home):
    home.write_recipe(hours=24, limit=20)
    said = home.call("run", "recipe.toml")
    assert said.code == ExitCode.BUDGET
    assert home.house.requests == 0 or not home.house.jobs


def test_another_sku_in_the_recipe_is_taken_by_the_job_that_waits(home: Home):
    home.house.skus = {"developer": 0}
    said = home.call("run", "recipe.toml", "--json")
    assert said.code == ExitCode.ATTENTION
    assert "sku" in said.json["job"]["problem"]["message"]
    home.write_recipe(sku="developer")
    assert home.call("run", "recipe.toml").code == ExitCode.ATTENTION
    assert home.call("jobs", "retry", said.json["job"]["id"]).code == ExitCode.OK
    assert home.call("run", "recipe.toml").code == ExitCode.OK
    assert home.house.standing() == []


@pytest.fixture
def trained(home: Home) -> Home:
    assert home.call("run", "recipe.toml", "--json").code == ExitCode.OK
    return home


def test_start_list_show_scale_stop_and_start_again(trained: Home):
    home = trained
    assert home.listed() == []
    said = home.call("deployments", "start", "intents", "--json")
    assert said.code == ExitCode.OK, said.err
    assert (said.json["state"], said.json["name"], said.json["sku"]) == (
        "serving",
        "intents-1",
        "standard",
    )
    (one,) = home.listed()
    assert (one["version"], one["purpose"], one["hourly"]) == ("intents@1", "serving", "1.7")
    assert (one["whose"], one["idle_days"]) == ("ours", None)
    again = home.call("deployments", "start", "intents@1")
    assert "already" in again.err
    assert home.house.standing() == ["intents-1"]
    assert home.call("deployments", "scale", "intents-1", "4").code == ExitCode.OK
    shown = home.call("deployments", "show", "intents-1", "--json").json
    assert shown["capacity"] == 4
    assert home.call("deployments", "list").rows[1][0] == "intents-1"
    idle = home.call("deployments", "list", "--idle", "7d")
    assert len(idle.rows) == 1
    assert "does not tell" in idle.err
    stopped = home.call("deployments", "stop", "intents-1")
    assert stopped.code == ExitCode.OK, stopped.err
    assert home.house.standing() == []
    assert home.call("models", "list", "--json").json[0]["id"] == "intents@1"
    assert home.call("deployments", "start", "intents@1", "--hours", "2").code == ExitCode.OK
    (one,) = home.listed()
    assert one["delete_by"] is not None


def test_what_another_machine_left_is_found_and_stopped_with_an_empty_store(
    trained: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home = trained
    home.call("deployments", "start", "intents")
    home.house.deploy_base("small")
    assert home.listed("--orphans") == []
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "understudy.toml").write_text(SETTINGS.format(name=home.name))
    monkeypatch.chdir(elsewhere)
    (one,) = home.listed("--orphans")
    assert (one["name"], one["whose"], one["purpose"]) == ("intents-1", "orphan", "serving")
    assert one["owner"]
    unknown = home.call("deployments", "stop", "intents-1")
    assert unknown.code == ExitCode.USAGE
    assert "--backend" in unknown.err
    theirs = home.call("deployments", "stop", "base-small", "--backend", "mine")
    assert theirs.code == ExitCode.USAGE
    assert "not made by Understudy" in theirs.err
    assert home.call("deployments", "stop", "intents-1", "--backend", "mine").code == ExitCode.OK
    time_left = 200
    while "intents-1" in home.house.standing() and time_left:
        time_left -= 1
        home.listed()
    assert home.house.standing() == ["base-small"]


def test_a_start_that_a_person_must_look_at_says_so_and_goes_on_later(trained: Home):
    home = trained
    home.house.room = 0
    said = home.call("deployments", "start", "intents")
    assert said.code == ExitCode.ATTENTION
    assert "capacity" in said.err
    assert home.call("jobs", "list", "--json").json[0]["state"] == "ready"
    home.house.room = 5
    said = home.call("deployments", "start", "intents")
    assert said.code == ExitCode.OK, said.err
    assert home.house.standing() == ["intents-1"]


def test_a_start_that_fails_is_taken_down_and_says_why(trained: Home):
    home = trained
    home.house.fails_after = 5
    said = home.call("deployments", "start", "intents")
    assert said.code == ExitCode.ATTENTION
    assert home.house.standing() == []
    assert home.call("jobs", "list", "--json").json[0]["state"] == "ready"


def test_a_provider_that_does_not_answer_is_told_and_the_store_still_shown(trained: Home):
    home = trained
    home.call("deployments", "start", "intents")
    home.house.fail(FakeHTTPError(500, "oops"))
    said = home.call("deployments", "list")
    assert said.code == ExitCode.BACKEND
    assert said.rows[1][0] == "intents-1"
    assert "could not be asked" in said.err


def test_what_cannot_be_listed_is_refused(trained: Home):
    assert trained.call("deployments", "list", "--backend", "nobody").code == ExitCode.USAGE
    assert trained.call("deployments", "list", "--idle", "soon").code == ExitCode.USAGE


def test_the_estimate_has_a_line_for_hosting(home: Home):
    said = home.call("estimate", "recipe.toml", "--json")
    assert said.code == ExitCode.OK, said.err
    lines = {line["kind"]: line for line in said.json["estimate"]["lines"]}
    assert list(lines) == ["train", "evaluate", "hosting"]
    assert Decimal(lines["hosting"]["at_most"]) == Decimal("40.80")
    assert Decimal(lines["hosting"]["expected"]) == Decimal("1.70")
    assert any("taken down" in note for note in said.json["estimate"]["notes"])


def test_compare_shows_each_tier_and_the_break_even(home: Home):
    said = home.call(
        "estimate", "recipe.toml", "--compare", "--teacher", "teacher", "--calls-a-day", "1000"
    )
    assert said.code == ExitCode.OK, said.err
    rows = {row[0]: row for row in said.rows}
    assert rows["tier"][-1] == "a day"
    assert rows["standard"][2] == "$1.70"
    assert rows["standard"][4].endswith("calls")
    assert rows["developer"][4] == "0 calls"
    as_json = home.call("estimate", "recipe.toml", "--compare", "--json").json["comparison"]
    assert as_json["teacher"] is None
    assert {tier["tier"] for tier in as_json["tiers"]} == {"standard", "developer"}
