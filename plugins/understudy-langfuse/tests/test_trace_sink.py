"""Calls on disk first, then told: through faults and kill -9 none is lost, none is two."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as drawn
from hypothesis import strategies as st

from langfuse_kit import answered, root, settings, source
from understudy.model import ChatRequest
from understudy.testing.clock import ManualClock
from understudy_langfuse.ids import trace_id
from understudy_langfuse.spans import call_span
from understudy_langfuse.trace_sink import LangfuseTraceSink

EXPORT = "langfuse.otel.export"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000.0)


@pytest.fixture
def sink(sandbox, environment, tmp_path, clock, finish) -> LangfuseTraceSink:
    of = settings(sandbox, environment=environment)
    made: LangfuseTraceSink = finish(
        LangfuseTraceSink(settings=of, folder=tmp_path / "spool", clock=clock)
    )
    return made


@pytest.fixture
def told(sandbox, environment, finish):
    """What Langfuse has of this test's calls."""

    def read() -> list[dict[str, Any]]:
        made = finish(source(sandbox, environments=[environment]))
        return [dict(r.value) for page in made.pages(None) for r in page.records]

    return read


def names(calls: list[dict[str, Any]]) -> list[str]:
    return sorted(one["metadata"]["understudy_call"] for one in calls)


def test_every_captured_call_is_told(sink, told) -> None:
    sink.capture(answered(f"c{i:03d}") for i in range(250))
    done = sink.deliver()
    assert (done.sent, done.waiting, done.trouble) == (250, 0, "")
    assert names(told()) == [f"c{i:03d}" for i in range(250)]


def test_a_call_comes_back_as_it_was(sandbox, sink, told, environment) -> None:
    tool = {"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}}
    asked = ChatRequest(
        model="gpt-4o", messages=({"role": "user", "content": "Where?"},), tools=(tool,)
    )
    given = answered(
        "whole", request=asked, tags=("gold",), session="s-1", metadata={"tier": "pro"}
    )
    sink.capture([given])
    sink.deliver()
    (found,) = told()
    assert found["messages"] == [{"role": "user", "content": "Where?"}]
    assert found["tools"] == [tool]
    assert found["response"]["message"] == {"role": "assistant", "content": "answer whole"}
    assert found["response"]["finish_reason"] == "stop"
    assert found["response"]["usage"] == {
        "input": 4, "input_cached_tokens": 6, "output": 4, "total": 14,
    }  # fmt: skip
    assert (found["model"], found["conversation_id"]) == ("gpt-4o-2024-08-06", "s-1")
    assert found["metadata"]["tier"] == "pro"
    assert found["metadata"]["langfuse"]["tags"] == ["gold"]
    assert found["metadata"]["langfuse"]["environment"] == environment


def test_a_failed_call_is_told_as_failed(sink, told) -> None:
    sink.capture([answered("bad", reply=None, error="timed out")])
    sink.deliver()
    (found,) = told()
    assert (found["error"], found["response"]) == ("timed out", None)


@pytest.mark.parametrize("do", ["error_after", "drop_after", "drop", "error", "truncate"])
def test_after_trouble_it_is_told_again_and_is_still_one(sandbox, sink, told, clock, do) -> None:
    sink.capture([answered("a"), answered("b")])
    sandbox.faults({"on": EXPORT, "do": do, "status": 503})
    first = sink.deliver()
    assert (first.sent, first.waiting, first.not_before) == (0, 2, clock.now() + 2)
    assert "OTLP traces" in first.trouble
    assert sink.deliver().sent == 2
    assert names(told()) == ["a", "b"]


def test_a_busy_server_says_when_to_come_back(sandbox, sink, clock) -> None:
    sink.capture([answered("a")])
    sandbox.faults({"on": EXPORT, "do": "error", "status": 429, "retry_after": 40})
    assert sink.deliver().not_before == clock.now() + 40
    assert sink.deliver().sent == 1


def test_pauses_grow_while_it_stays_away(sandbox, sink, clock) -> None:
    sink.capture([answered("a")])
    sandbox.faults({"on": EXPORT, "do": "error", "status": 500, "times": None})
    pauses = [(sink.deliver().not_before or 0) - clock.now() for _ in range(10)]
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_refused_keys_lose_nothing(sandbox, sink, told) -> None:
    sink.capture([answered("a")])
    sandbox.key(expired=True)
    done = sink.deliver()
    assert (done.sent, done.waiting) == (0, 1)
    assert "refused the pair of keys" in done.trouble
    sandbox.key(expired=False)
    assert sink.deliver().sent == 1
    assert names(told()) == ["a"]


def test_a_call_that_is_refused_is_laid_aside_and_the_others_go_on(sink, told, tmp_path) -> None:
    sink.capture(answered(f"c{i}") for i in range(9))
    with sqlite3.connect(tmp_path / "spool" / "langfuse-spool.db") as db:
        bad = orjson.loads(db.execute("SELECT span FROM waiting WHERE call = 'c4'").fetchone()[0])
        bad["traceId"] = "nothing"
        db.execute("UPDATE waiting SET span = ? WHERE call = 'c4'", (orjson.dumps(bad),))
    db.close()
    done = sink.deliver()
    assert (done.sent, done.waiting) == (8, 0)
    assert [one.id for one in done.rejected] == ["c4"]
    assert "is no id of 16 bytes" in done.rejected[0].reason
    assert [name for name, _ in sink.spool.refused()] == ["c4"]
    assert names(told()) == [f"c{i}" for i in range(9) if i != 4]


def test_a_call_that_changed_while_it_was_sent_is_sent_again(sink, told) -> None:
    sink.capture([answered("a")])
    (before,) = sink.spool.next(1, 1 << 20)
    sink.capture([answered("a", error="it failed after all")])
    sink.spool.forget([before])
    assert sink.spool.waiting() == 1
    sink.deliver()
    assert told()[0]["error"] == "it failed after all"


def test_batches_keep_below_a_size(sink) -> None:
    sink.capture(answered(f"c{i}") for i in range(5))
    size = len(sink.spool.next(1, 1)[0][2])
    assert [len(sink.spool.next(9, limit)) for limit in (1, size * 2 + 20, 1 << 20)] == [1, 2, 5]


def test_kill_9_at_any_moment_loses_no_call(sandbox, environment, tmp_path, sink, told) -> None:
    """A process captures and delivers until it is killed; what it captured is told, once each."""
    captured = 0
    for life in range(3):
        command = [sys.executable, str(Path(__file__).parent / "spool_child.py"), sandbox.api_key]
        command += [root(sandbox), environment, str(tmp_path / "spool"), str(captured)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(10 + 6 * life)]
            process.kill()
            lines += process.stdout.readlines()
        captured = max(int(line) for line in lines if line.endswith("\n")) + 1
    sink.deliver()
    found = names(told())
    assert len(found) == len(set(found))
    # The one that was being captured when it was killed may be there too.
    expected = [f"c{number:05d}" for number in range(captured)]
    assert found[:captured] == expected
    assert len(found) <= captured + 1


def test_nothing_secret_is_on_disk(sink, sandbox, tmp_path) -> None:
    sink.capture([answered("a")])
    sandbox.faults({"on": EXPORT, "do": "echo_key"})
    assert sandbox.api_key not in sink.deliver().trouble
    for path in (tmp_path / "spool").iterdir():
        assert sandbox.api_key.encode() not in path.read_bytes()


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
metadata_values = st.none() | texts | st.integers()


@drawn(suppress_health_check=[HealthCheck.too_slow])
@given(
    name=texts,
    said=texts,
    metadata=st.dictionaries(texts, st.none() | texts | st.integers(-(2**53), 2**53)),
)
def test_spans_are_json_with_ids_of_the_right_size(name, said, metadata) -> None:
    asked = ChatRequest(model="m", messages=({"role": "user", "content": said},))
    made = json.loads(
        orjson.dumps(call_span(answered(name, request=asked, metadata=metadata), None))
    )
    assert (len(made["traceId"]), len(made["spanId"])) == (32, 16)
    given = {one["key"]: one["value"] for one in made["attributes"]}
    logged = json.loads(given["langfuse.observation.input"]["stringValue"])
    assert logged == [{"role": "user", "content": said}]
    for key, value in metadata.items():
        if key not in {"understudy_call", "finish_reason"}:
            kept = given[f"langfuse.observation.metadata.{key}"]["stringValue"]
            assert json.loads(kept) == value


def test_half_a_character_stops_no_call(sink, told) -> None:
    cut = ChatRequest(model="m", messages=({"role": "user", "content": "cut \ud83d"},))
    sink.capture([answered("half", request=cut, session="s\ud83d", metadata={"n": 2**80})])
    assert sink.deliver().sent == 1
    (found,) = told()
    assert found["messages"][0]["content"] == "cut ?"


def test_ids_are_those_that_the_sdk_gives_to_the_same_seed() -> None:
    from langfuse import Langfuse

    assert trace_id("seed") == Langfuse.create_trace_id(seed="seed")
