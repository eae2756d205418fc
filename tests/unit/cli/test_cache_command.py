from __future__ import annotations

import json

import pytest

from understudy.cache import open_cache, pack_reply
from understudy.cache.requests import key_of_request, request_of
from understudy.cli.app import run
from understudy.cli.exit_codes import ExitCode
from understudy.model import ChatReply, Usage

CACHE, VERSION = "triage", "triage@1"
BODY = {"messages": [{"role": "user", "content": "where is my lamp"}], "temperature": 0}


class Here:
    """A project folder and the command line in it."""

    def __init__(self, folder, capsys):
        self.folder, self._capsys = folder, capsys

    def __call__(self, *line, code=0):
        self._capsys.readouterr()
        assert run(["cache", *map(str, line)]) == code
        return self._capsys.readouterr()

    def json(self, *line):
        return json.loads(self(*line, "--json").out)

    def publish(self, generation, answer):
        with self.store() as store, store.writer(CACHE, generation, model=VERSION) as writer:
            reply = ChatReply(
                message={"role": "assistant", "content": answer},
                finish_reason="stop",
                usage=Usage(input=1, output=1),
                model="ft:x",
            )
            key = key_of_request(request_of(BODY), model_version=VERSION)
            writer.put([(key, pack_reply(reply))])
            writer.publish()

    def store(self):
        return open_cache(self.folder / ".understudy" / "cache")


@pytest.fixture
def here(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("UNDERSTUDY_CONFIG", "UNDERSTUDY_CACHE", "UNDERSTUDY_STORE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "ask.json").write_text(json.dumps(BODY))
    return Here(tmp_path, capsys)


def test_stats_of_nothing_say_where_caches_come_from(here):
    assert here.json("stats") == []
    assert "understudy precompute" in here("stats").err


def test_stats_show_what_is_there_and_how_it_did(here):
    here.publish("g1", "track")
    with here.store() as store:
        store.add_counts(CACHE, {"hits": 7, "student_calls": 2, "student_nanos": 3})
    (record,) = here.json("stats", CACHE)
    assert record["current"]["id"] == "g1"
    assert [each["state"] for each in record["generations"]] == ["current"]
    assert record["counts"]["hits"] == 7
    shown = here("stats", CACHE).out
    assert "<$0.0001" in shown, "never zero when something was used"
    assert "g1" in shown


def test_get_shows_the_answer_by_request_and_by_fingerprint(here):
    here.publish("g1", "track")
    assert here("get", CACHE, "ask.json").out == "track\n"
    found = here.json("get", CACHE, "ask.json")
    assert (found["from"], found["reply"]["message"]["content"]) == ("g1", "track")
    assert here("get", CACHE, found["fingerprint"]).out == "track\n"
    missing = here("get", CACHE, "u1:" + "0" * 64, code=1)
    assert "has no answer" in missing.err


def test_put_answers_by_hand_until_a_generation_does(here):
    assert "--model" in here("put", CACHE, "ask.json", "mine", code=ExitCode.USAGE).err
    print_ = here("put", CACHE, "ask.json", "mine", "--model", VERSION).out.strip()
    assert here("get", CACHE, print_).out == "mine\n"
    here.publish("g1", "track")
    assert here("get", CACHE, print_).out == "track\n"
    assert "comes first" in here("put", CACHE, "ask.json", "other").err


def test_a_request_that_is_none_is_named(here):
    here.publish("g1", "track")
    (here.folder / "bad.json").write_text('{"messages": "no"}')
    told = here("get", CACHE, "bad.json", code=ExitCode.BAD_DATA).err
    assert "bad.json [messages]" in told
    (here.folder / "bad.json").write_text("{")
    assert "is no JSON" in here("get", CACHE, "bad.json", code=ExitCode.BAD_DATA).err
    assert "cannot be read" in here("get", CACHE, "absent", code=ExitCode.BAD_DATA).err


def test_rollback_and_prune(here):
    for generation, answer in (("g1", "old"), ("g2", "new"), ("g3", "newest")):
        here.publish(generation, answer)
    assert here.json("rollback", CACHE)["id"] == "g2"
    assert here("get", CACHE, "ask.json").out == "new\n"
    assert "g3" in here("rollback", CACHE, "--to", "g3").out
    assert [each["id"] for each in here.json("prune", CACHE)] == ["g1"]
    with here.store() as store:
        store.writer(CACHE, "half", model=VERSION).close()
    assert "half" in here("prune", CACHE, "--abandon", "half").out
    assert "no generation 'half'" in here("prune", CACHE, "--abandon", "half", code=2).err


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_export_and_import(here, ending):
    here.publish("g1", "track")
    file = f"out.{ending}"
    assert here.json("export", CACHE, file)["rows"] == 1
    made = here.json("import", "copy", file)
    assert (made["model"], made["entries"], made["current"]) == (VERSION, 1, True)
    assert here("get", "copy", "ask.json").out == "track\n"


def test_an_import_of_a_damaged_file_names_the_line(here):
    here.publish("g1", "track")
    here("export", CACHE, "out.jsonl")
    with (here.folder / "out.jsonl").open("a") as file:
        file.write("{half a li")
    told = here("import", CACHE, "out.jsonl", code=ExitCode.BAD_DATA).err
    assert "out.jsonl:3: is no JSON" in told
    assert here.json("stats", CACHE)[0]["current"]["id"] == "g1"


def test_warm_reads_or_brings_a_generation(here, tmp_path):
    here.publish("g1", "track")
    assert here.json("warm", CACHE)["rows"] == 1
    (tmp_path / "understudy.toml").write_text('[cache]\nurl = "sqlite:///elsewhere"\n')
    made = here.json("warm", CACHE, "--from", f"sqlite:///{tmp_path}/.understudy/cache")
    assert (made["id"], made["entries"]) == ("g1", 1)
    assert here("get", CACHE, "ask.json").out == "track\n"


def test_plan_picks_the_head_and_writes_it_as_input(here):
    rows = [{"q": "lamp", "n": 90}, {"q": "chair", "n": 9}, {"q": "coat", "n": 1}, {"q": "x"}]
    log = here.folder / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = ("plan", "log.jsonl", "--count", "n", "--target-coverage", "95%", "--out", "head.jsonl")
    told = here(*line, "--plot", "curve.svg")
    assert "2 queries are in head.jsonl" in told.out
    assert "head.jsonl.rejected.jsonl says why" in told.err
    assert "Good-Turing" in told.err
    head = [json.loads(row) for row in (here.folder / "head.jsonl").read_text().splitlines()]
    assert head == [{"q": "lamp", "n": 90}, {"q": "chair", "n": 9}]
    assert (here.folder / "curve.svg").read_text().startswith("<?xml")
    found = here.json(*line, "--backend", "openai", "--model", "gpt-4o-mini")
    assert (found["traffic"], found["distinct"], found["chosen"]["keys"]) == (100, 3, 2)
    assert float(found["chosen"]["cost"]) > 0
    assert found["rejected"] == {"n is missing": 1}


def test_plan_says_what_is_wrong_with_its_options(here):
    (here.folder / "log.jsonl").write_text('{"q": "a"}\n')
    for options, told in (
        (("--out", "h.jsonl"), "--target-coverage"),
        (("--target-coverage", "950%"), "write 95% or 0.95"),
        (("--backend", "openai"), "needs both"),
    ):
        assert told in here("plan", "log.jsonl", *options, code=ExitCode.USAGE).err
