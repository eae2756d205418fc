"""Pulling from a service: every call once, through kill -9 and hands that change the file."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from understudy.backend import Params, Settings
from understudy.collecting import collect_calls
from understudy.config import load_config
from understudy.data.sources.collect import collect
from understudy.errors import ConfigError, DataError, Unavailable
from understudy.hookspecs import TraceSource, TraceSourceSpec
from understudy.model import Json, TracePage, TraceRecord
from understudy.plugins import GROUP, PluginHost
from understudy.project import Project
from understudy.recipe import Source, load_recipe
from understudy.testing import ManualClock

PAGE = 7


class Service(TraceSource):
    """Calls 0 to ``there``; the watermark lies three calls before the end of a page."""

    there = 100

    def pages(self, since: Json | None) -> Iterator[TracePage]:
        at = since or 0
        while at < self.there:
            end = min(at + PAGE, self.there)
            records = tuple(TraceRecord(value=call(number)) for number in range(at, end))
            at = end
            yield TracePage(records=records, watermark=max(0, end - 3))


def call(number: int) -> dict[str, Any]:
    return {
        "id": f"call-{number}",
        "messages": [{"role": "user", "content": f"q{number}"}],
        "response": {"message": {"role": "assistant", "content": f"a{number}"}},
    }


def service(there: int = 100) -> Service:
    made = Service(settings=Settings(), options=Params(), clock=ManualClock())
    made.there = there
    return made


def ids(path: Path) -> list[str]:
    return [json.loads(line)["value"]["id"] for line in path.read_bytes().splitlines()]


def wanted(there: int) -> list[str]:
    return [f"call-{number}" for number in range(there)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "collected" / "service.jsonl"


def test_a_later_pull_takes_only_what_is_new(log: Path) -> None:
    told: list[int] = []
    first = collect(service(20), log, progress=told.append)
    assert (first.new, first.known, first.total) == (20, 0, 20)
    assert told == [7, 14, 20]
    again = collect(service(20), log)
    assert (again.new, again.known, again.total) == (0, 3, 20)
    later = collect(service(50), log)
    assert (later.new, later.total) == (30, 50)
    assert ids(log) == wanted(50)


def test_what_came_before_trouble_is_kept(log: Path) -> None:
    class Breaks(Service):
        def pages(self, since: Json | None) -> Iterator[TracePage]:
            for number, page in enumerate(super().pages(since)):
                if number == 2:
                    raise Unavailable("the server is down")
                yield page

    with pytest.raises(Unavailable):
        collect(Breaks(settings=Settings(), options=Params(), clock=ManualClock()), log)
    assert len(ids(log)) == 2 * PAGE
    collect(service(), log)
    assert ids(log) == wanted(100)


CHILD = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import test_collect as kit
from pathlib import Path
from understudy.data.sources import collect as module
left = int(sys.argv[3])
for name in ("_commit", "record_line"):
    def counted(*given, plain=getattr(module, name)):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        done = plain(*given)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    setattr(module, name, counted)
module.collect(kit.service(), Path(sys.argv[2]))
"""


def test_kill_at_any_point_loses_nothing_and_repeats_nothing(log: Path) -> None:
    dice = random.Random(11)
    killed = 0
    for _ in range(6):
        here = str(Path(__file__).parent)
        arguments = [sys.executable, "-c", CHILD, here, str(log), str(dice.randint(1, 60))]
        done = subprocess.run(arguments, check=False, capture_output=True, text=True)
        assert done.returncode in {0, -signal.SIGKILL}, done.stderr
        killed += done.returncode != 0
    assert killed > 2
    collect(service(), log)
    assert ids(log) == wanted(100)


def test_half_a_page_is_cut_off_and_asked_for_again(log: Path) -> None:
    collect(service(20), log)
    with log.open("ab") as file:
        file.write(b'{"value": {"id": "call-20", "mess')
    collect(service(30), log)
    assert ids(log) == wanted(30)


def test_a_file_that_was_changed_by_hand_is_refused(log: Path) -> None:
    collect(service(20), log)
    os.truncate(log, 100)
    with pytest.raises(DataError, match="changed by hand"):
        collect(service(20), log)
    log.with_name(f"{log.name}.state").unlink()
    with pytest.raises(DataError, match="restore that too"):
        collect(service(20), log)


def test_two_pulls_at_once_are_refused(log: Path) -> None:
    class Nested(Service):
        def pages(self, since: Json | None) -> Iterator[TracePage]:
            collect(service(), log)
            yield from super().pages(since)

    with pytest.raises(DataError, match="another process collects"):
        collect(Nested(settings=Settings(), options=Params(), clock=ManualClock()), log)


def test_collected_calls_become_rows_and_broken_ones_are_kept(run: Any, log: Path) -> None:
    class Mixed(Service):
        def pages(self, since: Json | None) -> Iterator[TracePage]:
            yield from super().pages(since)
            broken = TraceRecord(value={"id": "odd"}, place="input", problem="is not a list")
            yield TracePage(records=(broken, broken), watermark=1)

    made_by = Mixed(settings=Settings(), options=Params(), clock=ManualClock())
    made_by.there = 12
    assert collect(made_by, log).new == 13
    spec = TraceSourceSpec(name="mixed", target="x:y", help="h", reads="service")
    made = run(source=Source(kind="mixed", path=log), sources={"mixed": spec})
    assert made.kept == 12
    rejected = json.loads((made.path / "rejected.jsonl").read_text("utf-8"))
    assert (rejected["line"], rejected["reason"], rejected["field"]) == (13, "bad_trace", "input")
    assert rejected["row"] == {"id": "odd"}


def test_nothing_collected_yet_says_what_to_do(run: Any, log: Path) -> None:
    spec = TraceSourceSpec(name="mixed", target="x:y", help="h", reads="service")
    with pytest.raises(DataError, match="understudy datasets collect"):
        run(source=Source(kind="mixed", path=log), sources={"mixed": spec})


PLUGIN = """
from understudy.backend import Settings
from understudy.hookspecs import TraceSource, TraceSourceSpec, hookimpl
from understudy.model import TracePage, TraceRecord
from pydantic import SecretStr

class Keyed(Settings):
    env = {"key": "DESK_KEY"}
    key: SecretStr

class Desk(TraceSource):
    Settings = Keyed
    def pages(self, since):
        assert self.settings.key.get_secret_value() == "planted"
        call = {"id": "a", "messages": [{"role": "user", "content": "q"}],
                "response": {"message": {"role": "assistant", "content": "a"}}}
        yield TracePage(records=(TraceRecord(value=call),), watermark="w")

@hookimpl
def understudy_trace_sources():
    yield TraceSourceSpec(name="desk", target="desk_plugin:Desk", help="h", reads="service")
"""
RECIPE = """
name = "demo"
source = {kind = "desk", service = "desk"}
train = {backend = "openai", base_model = "b"}
budget = {limit_usd = 1}
"""


def test_a_service_of_a_plugin_is_collected_beside_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "desk_plugin.py").write_text(PLUGIN)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "understudy.toml").write_text('[services.desk]\nkey_env = "OTHER_KEY"\n')
    monkeypatch.syspath_prepend(tmp_path)
    host = PluginHost(entry_points=[EntryPoint("desk", "desk_plugin", GROUP)])
    recipe = load_recipe(tmp_path / "recipe.toml")
    settings = tmp_path / "understudy.toml"
    bare = Project(load_config(settings, env={}), host=host)
    with bare, pytest.raises(ConfigError, match="export OTHER_KEY"):
        collect_calls(bare, recipe)
    with Project(load_config(settings, env={"OTHER_KEY": "planted"}), host=host) as project:
        found = collect_calls(project, recipe)
    assert (found.new, found.total) == (1, 1)
    assert ids(tmp_path / "collected" / "desk.jsonl") == ["a"]
    for path in (tmp_path / "collected").iterdir():
        assert b"planted" not in path.read_bytes()
