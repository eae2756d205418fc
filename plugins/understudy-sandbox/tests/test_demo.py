from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import typer

from understudy_sandbox.demo.calls import calls, write_calls
from understudy_sandbox.demo.command import shared_clock, write_project


def test_the_same_seed_gives_the_same_log(tmp_path) -> None:
    assert list(calls(5, 50)) == list(calls(5, 50))
    assert list(calls(5, 50)) != list(calls(6, 50))
    path = tmp_path / "calls.jsonl"
    assert write_calls(path, 5, 50) == 50
    assert [json.loads(x) for x in path.read_text().splitlines()] == list(calls(5, 50))


def test_the_log_has_everything_that_must_be_cleaned() -> None:
    log = list(calls())
    kinds: Counter[str] = Counter()
    for call in log:
        response = call["response"]
        kinds["error"] += response is None and "error" in call
        kinds["truncated"] += bool(response and response["finish_reason"] == "length")
        kinds["flagged"] += call.get("flags") == ["hallucination"]
        kinds["incomplete"] += bool(response and not response["message"]["content"])
        kinds["wrong"] += bool(
            response
            and response["finish_reason"] == "stop"
            and response["message"]["content"] not in {"", call["reference"]}
        )
    repeated = Counter(json.dumps(c["messages"]) for c in log).most_common(1)[0][1]
    assert len(log) == 1600
    assert len({c["id"] for c in log}) == 1600
    assert all(kinds[k] >= 15 for k in ("error", "truncated", "flagged", "incomplete", "wrong"))
    assert repeated > 1
    assert Counter(c["conversation_id"] for c in log).most_common(1)[0][1] > 1


def test_values_can_be_read_off_the_query() -> None:
    for call in calls(3, 300):
        query = call["messages"][-1]["content"].lower()
        truth = json.loads(call["reference"])
        for key in ("brand", "city", "color"):
            assert truth[key] is None or truth[key].lower() in query
        assert truth["max_price"] is None or str(truth["max_price"]) in query


def test_the_project_holds_no_key(tmp_path) -> None:
    recipe = write_project(tmp_path, "http://127.0.0.1:9/v1", seed=1, calls=200)
    settings = tomllib.loads((tmp_path / "understudy.toml").read_text())
    assert tomllib.loads(recipe.read_text())["train"]["backend"] == "sandbox"
    assert settings["backends"]["sandbox"]["api_key_env"] == "UNDERSTUDY_SANDBOX_KEY"
    assert "api_key" not in settings["backends"]["sandbox"]


def test_one_clock_is_shared() -> None:
    text, options = shared_clock("2028-01-01T00:00:00Z,60")
    assert text is not None
    assert text == f"{options['clock']},{options['clock_speed']},{options['clock_anchor']}"
    assert shared_clock(None) == (None, {})


@pytest.mark.parametrize("text", ["garbage", "2028-01-01,fast", "2028-01-01,2,now"])
def test_a_clock_that_is_none_is_refused(text) -> None:
    with pytest.raises(typer.BadParameter, match="write ISO-TIME"):
        shared_clock(text)


def demo(folder: Path, clock: str, *options: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("UNDERSTUDY_")}
    return subprocess.run(
        [sys.executable, "-m", "understudy.cli", "demo", "--folder", str(folder), *options],
        env={**env, "UNDERSTUDY_CLOCK": clock},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_demo_passes_with_the_clock_at_2028(tmp_path) -> None:
    said = demo(tmp_path / "demo", "2028-01-01T00:00:00Z,4", "--calls", "700")
    assert said.returncode == 0, said.stderr
    cells = {line.split("\t")[0]: line.split("\t")[1:] for line in said.stdout.splitlines()}
    assert cells["job"][1] == "ready"
    assert re.fullmatch(r"duplicate \d+, .*", cells["rows dropped"][1])
    assert {word.split()[0] for word in cells["rows dropped"][1].split(", ")} == {
        *("duplicate", "error", "flagged", "incomplete", "truncated"),
    }
    scores = {
        who: float(cells[f"held-out json_exact: {who}"][0])
        for who in ("student", "base model", "teacher labels")
    }
    assert scores["base model"] < 0.1
    assert scores["student"] > 0.8
    assert scores["teacher labels"] < 1, "the log holds the teacher's mistakes"
    assert cells["alias"] == ["query-understanding", "points at shop-queries@1"]
    assert said.stdout.splitlines()[-1].startswith("The provider was the Understudy sandbox")
    assert "2028-01-01 00:00" in said.stderr
    assert "Traceback" not in said.stdout + said.stderr


def test_a_demo_in_a_place_that_cannot_be_written_says_so(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    said = demo(tmp_path / "file" / "x", "2028-01-01T00:00:00Z")
    assert said.returncode == 2
    assert said.stderr.endswith(
        "file/x/sandbox: Not a directory. Mend that, or name another place, and run it again.\n"
    )
