"""What is taken from a project: filters, scores, what is new, what came late."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from langfuse_kit import PUBLIC_KEY, START, asked, root, seed, send, source, span
from understudy.data import prepare
from understudy.recipe import Cleaning, Source, Split


@pytest.fixture
def pull(sandbox, environment, finish):
    """All records of one pull from this test's environment, with further options."""

    def of(**options: Any) -> list[Any]:
        made = finish(source(sandbox, environments=[environment], **options))
        return [record for page in made.pages(None) for record in page.records]

    return of


@pytest.fixture
def write(sandbox, environment, first):
    def calls(*numbers: int, **changes: Any) -> None:
        given = {"langfuse.environment": environment, **changes}
        seed(sandbox, [first + number for number in numbers], **given)

    return calls


@pytest.fixture
def looking_back(sandbox, environment, finish):
    return finish(source(sandbox, environments=[environment], late=10**9))


def score(sandbox, number: int, **said: Any) -> None:
    body = {"traceId": f"{number:032x}", **said}
    reply = httpx.post(
        f"{root(sandbox)}/api/public/scores", json=[body], auth=(PUBLIC_KEY, sandbox.api_key)
    )
    assert reply.status_code == 202, reply.text


def test_pages_follow_each_other_to_the_first_call(sandbox, environment, first, write, finish):
    write(*range(25))
    made = finish(source(sandbox, environments=[environment], page_size=10))
    pages = list(made.pages(None))
    assert [len(page.records) for page in pages] == [10, 10, 5]
    said = [text for page in pages for text in asked(page.records)]
    assert said == [f"q{first + number}" for number in reversed(range(25))]
    assert [page.watermark["cursor"] is None for page in pages] == [False, False, True]


def test_a_later_run_takes_only_what_is_new_and_what_came_late(write, first, landing, looking_back):
    write(0, 2)
    made = looking_back
    assert landing.pull(made) == 2
    assert landing.pull(made) == 0
    write(1, 3)  # one that began before the newest of the first run
    assert landing.pull(made) == 2
    assert landing.pull(made) == 0
    said = {call["messages"][0]["content"] for call in landing.calls()}
    assert said == {f"q{first + number}" for number in range(4)}
    assert len(landing.calls()) == 4


def test_late_observations_are_seen_when_they_arrive(sandbox, write, landing, looking_back):
    made = looking_back
    write(0)
    late = {"do": "langfuse_late", "on": "langfuse.otel.export", "seconds": 60}
    sandbox.faults(late)
    write(1)
    assert landing.pull(made) == 1
    sandbox.advance(61)
    assert landing.pull(made) == 1


def test_without_looking_back_a_late_one_is_missed(sandbox, environment, write, landing, finish):
    """What ``late`` is for."""
    write(0)
    assert landing.pull(finish(source(sandbox, environments=[environment], late=0))) == 1
    write(1)
    assert landing.pull(finish(source(sandbox, environments=[environment], late=0))) == 0


def test_calls_that_are_too_young_wait(pull, write):
    write(0)
    age = datetime.now(UTC).timestamp() - START
    assert len(pull(settle=0)) == 1
    assert pull(settle=age + 10**9) == []


def test_a_window_of_time_leaves_the_rest_out(pull, write, first):
    write(*range(5))
    since = datetime.fromtimestamp(START + first + 1, UTC)
    until = datetime.fromtimestamp(START + first + 3, UTC)
    assert asked(pull(since=since, until=until)) == [f"q{first + 2}", f"q{first + 1}"]
    naive = since.replace(tzinfo=None)
    assert len(pull(since=naive, until=until)) == 2


FILTERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"names": ["refund", "other"]}, {"name": "refund"}),
    ({"tags": ["gold", "x"]}, {"langfuse.trace.tags": ["gold", "b"]}),
    ({"models": ["gpt-5"]}, {"langfuse.observation.model.name": "gpt-5"}),
    ({"trace_names": ["checkout"]}, {"langfuse.trace.name": "checkout"}),
    ({"types": ["AGENT"]}, {"langfuse.observation.type": "agent"}),
    ({"where": [{"type": "stringObject", "column": "metadata", "key": "tier", "operator": "=",
                 "value": "pro"}]}, {"langfuse.observation.metadata.tier": '"pro"'}),
]  # fmt: skip


@pytest.mark.parametrize(("options", "changes"), FILTERS, ids=lambda v: next(iter(v)))
def test_each_filter_takes_only_what_fits(pull, write, first, options, changes):
    write(0, 2)
    write(1, **changes)
    assert asked(pull(**options)) == [f"q{first + 1}"]
    assert len(pull()) == (2 if "types" in options else 3)


def test_experiments_are_no_training_data_unless_asked_for(sandbox, first, finish):
    given = {"langfuse.trace.name": f"only-{first}"}
    seed(sandbox, [first], **given, **{"langfuse.environment": "sdk-experiment"})
    seed(sandbox, [first + 1], **given)
    names = [f"only-{first}"]

    def count(**options: Any) -> list[str]:
        made = finish(source(sandbox, trace_names=names, **options))
        return [text for page in made.pages(None) for text in asked(page.records)]

    assert count() == [f"q{first + 1}"]
    assert count(environments=["sdk-experiment"]) == [f"q{first}"]


def test_scores_come_with_their_calls(sandbox, pull, write, first):
    write(0, 1)
    observation = f"{first:016x}"
    score(sandbox, first, name="helpful", value=0.25)
    score(sandbox, first, name="helpful", value=0.75, observationId=observation)
    score(sandbox, first, name="right", value=1, dataType="BOOLEAN")
    score(sandbox, first, name="tone", value="kind")
    score(sandbox, first, name="output", value="better", dataType="CORRECTION",
          observationId=observation)  # fmt: skip
    later, earlier = pull()
    assert "scores" not in later.value
    assert earlier.value["scores"] == {"helpful": 0.75, "right": 1.0}
    assert earlier.value["metadata"]["langfuse"]["scores"] == {"tone": "kind"}
    assert earlier.value["reference"] == "better"
    assert asked(pull(min_score={"helpful": 0.5})) == [f"q{first}"]
    assert pull(min_score={"helpful": 0.8}) == []
    assert "scores" not in pull(scores=False)[1].value


def test_more_scores_than_a_page_holds_all_come(sandbox, pull, write, first):
    write(0)
    for number in range(3):
        body = [
            {"traceId": f"{first:032x}", "name": f"s{number}-{i}", "value": i} for i in range(50)
        ]
        httpx.post(
            f"{root(sandbox)}/api/public/scores", json=body, auth=(PUBLIC_KEY, sandbox.api_key)
        )
    assert len(pull()[0].value["scores"]) == 150


def test_metadata_is_whole_where_it_is_named(pull, write):
    long = json.dumps("x" * 300)
    write(0, **{"langfuse.observation.metadata.note": long,
                "langfuse.observation.metadata.other": long})  # fmt: skip
    kept = pull(metadata=["note"])[0].value["metadata"]
    assert len(kept["note"]) == 300
    assert len(kept["other"]) == 200
    assert not kept.keys() & {"scope", "resourceAttributes", "attributes"}


def test_parsed_input_and_output_are_read_as_well(sandbox, pull, write, first):
    write(0)
    sandbox.faults({"do": "langfuse_parsed_io", "on": "*", "times": None})
    assert pull()[0].value["response"]["message"]["content"] == f"a{first}"


def test_tools_of_opentelemetry_are_found_in_the_attributes(sandbox, environment, first, pull):
    tools = [{"type": "function", "name": "track", "parameters": {"type": "object"},
              "description": "d" * 300}]  # fmt: skip
    made = span(first)
    given = {
        "langfuse.environment": environment,
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "You help."}]),
        "gen_ai.input.messages": json.dumps(
            [{"role": "user", "parts": [{"type": "text", "content": "Where?"}]}]
        ),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "finish_reason": "length",
            "parts": [{"type": "text", "content": "There"}]}]),
        "gen_ai.tool.definitions": json.dumps(tools),
    }  # fmt: skip
    made["attributes"] = [{"key": k, "value": {"stringValue": v}} for k, v in given.items()]
    send(sandbox, [made])
    call = pull()[0].value
    assert [m["role"] for m in call["messages"]] == ["system", "user"]
    assert call["tools"][0]["function"]["description"] == "d" * 300
    assert call["response"]["finish_reason"] == "length"


def test_failed_and_odd_calls_are_told_not_left_out(pull, write, first):
    write(0, **{"langfuse.observation.level": "ERROR",
                "langfuse.observation.status_message": "timed out"})  # fmt: skip
    write(1, **{"langfuse.observation.input": json.dumps({"question": "?"})})
    odd, failed = pull()
    assert failed.value["error"] == "timed out"
    assert (odd.place, odd.value["id"]) == ("input", f"langfuse:{first + 1:032x}/{first + 1:016x}")
    assert "log the messages" in odd.problem


def test_calls_make_a_dataset(tmp_path, pull, write):
    """The records fit the core's call log as they are."""
    write(*range(40))
    path = tmp_path / "calls.jsonl"
    path.write_text("".join(json.dumps(record.value) + "\n" for record in pull()))
    made = prepare(
        source=Source(kind="calls", path=path),
        cleaning=Cleaning(),
        split=Split(),
        method="supervised",
        root=tmp_path / "datasets",
    )
    assert (made.kept, made.lines, dict(made.rejected)) == (40, 40, {})
