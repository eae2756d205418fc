"""Observations: what spans become, how the list is filtered and paged, what it does not take."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from langfuse_face_kit import PUBLIC_KEY, START, export, span

ALL = "core,basic,time,io,metadata,model,usage,prompt,metrics,trace_context"
FULL = {
    "name": "triage",
    "langfuse.observation.type": "generation",
    "langfuse.observation.input": '[{"role": "user", "content": "q"}]',
    "langfuse.observation.output": "a",
    "langfuse.observation.model.name": "gpt-4o",
    "langfuse.observation.model.parameters": '{"temperature": 0}',
    "langfuse.observation.usage_details": '{"input": 5, "output": 2, "total": 7}',
    "langfuse.observation.cost_details": '{"input": 0.25, "output": 0.5}',
    "langfuse.observation.metadata.tier": '"pro"',
    "langfuse.observation.prompt.name": "p",
    "langfuse.observation.prompt.version": 3,
    "langfuse.trace.name": "support",
    "langfuse.trace.tags": ["gold", "b"],
    "langfuse.version": "v7",
    "langfuse.release": "r1",
    "user.id": "u",
    "session.id": "s",
    "langfuse.internal.is_app_root": True,
    "extra": 1.5,
}


def where(environment: str) -> dict[str, Any]:
    return {"environment": environment}


def condition(kind: str, column: str, operator: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"type": kind, "column": column, "operator": operator, "value": value, **more}


def test_a_span_becomes_an_observation_with_all_its_fields(langfuse, mark, first) -> None:
    langfuse.write(span(first, **FULL, **{"langfuse.environment": mark}))
    (seen,) = langfuse.observations(**where(mark), fields=ALL)
    assert seen["id"] == f"{first:016x}"
    assert (seen["type"], seen["model"], seen["providedModelName"]) == (
        "GENERATION", "gpt-4o", "gpt-4o",
    )  # fmt: skip
    assert (seen["input"], seen["output"]) == (FULL["langfuse.observation.input"], "a")
    assert seen["modelParameters"] == {"temperature": 0}
    assert seen["usageDetails"] == {"input": 5, "output": 2, "total": 7}
    assert (seen["totalCost"], seen["latency"]) == (0.75, 1.5)
    assert (seen["promptName"], seen["promptVersion"]) == ("p", 3)
    assert (seen["traceName"], seen["tags"], seen["release"]) == ("support", ["b", "gold"], "r1")
    assert (seen["userId"], seen["sessionId"], seen["version"]) == ("u", "s", "v7")
    assert seen["metadata"]["tier"] == "pro"
    assert seen["metadata"]["attributes"]["extra"] == 1.5
    assert seen["isRootObservation"] is True
    assert datetime.fromisoformat(seen["startTime"]) == datetime.fromtimestamp(START + first, UTC)


def test_only_the_groups_asked_for_are_shown(langfuse, mark, first) -> None:
    langfuse.write(span(first, **FULL, **{"langfuse.environment": mark}))
    core = {"id", "traceId", "startTime", "endTime", "projectId", "parentObservationId", "type"}
    (plain,) = langfuse.observations(**where(mark))
    assert {"name", "level", "environment"} <= plain.keys()
    assert not {"input", "model", "metadata"} & plain.keys()
    (io,) = langfuse.observations(**where(mark), fields="io")
    assert io.keys() == core | {"input", "output"}
    reply = langfuse.http.get("/v2/observations", params={"fields": "io,colours"})
    assert (reply.status_code, "colours" in reply.json()["message"]) == (400, True)


def test_long_metadata_is_cut_unless_it_is_named(langfuse, mark, first) -> None:
    long = json.dumps("x" * 300)
    given = {"langfuse.observation.metadata.a": long, "langfuse.observation.metadata.b": long}
    langfuse.write(span(first, **given, **{"langfuse.environment": mark}))
    (seen,) = langfuse.observations(**where(mark), fields="metadata", expandMetadata="b")
    assert [len(seen["metadata"][key]) for key in "ab"] == [200, 300]


def test_pages_hold_every_observation_once_the_latest_first(langfuse, mark, first) -> None:
    same = {"langfuse.environment": mark}
    langfuse.write(*(span(first + i // 2 * 2, **same) | {"spanId": f"{first + i:016x}"}
                     for i in range(23)))  # fmt: skip
    seen = langfuse.observations(**where(mark), limit=4)
    assert len({one["id"] for one in seen}) == len(seen) == 23
    starts = [one["startTime"] for one in seen]
    assert starts == sorted(starts, reverse=True)


@pytest.mark.parametrize("limit", ["0", "1001", "many"])
def test_limits_beyond_a_thousand_are_refused(langfuse, limit) -> None:
    reply = langfuse.http.get("/v2/observations", params={"limit": limit})
    assert reply.status_code == 400


def test_retired_and_wrong_parameters_are_refused(langfuse) -> None:
    for query in (
        {"parseIoAsJson": "true"},
        {"cursor": "bm90aGluZw=="},
        {"fromStartTime": "yesterday"},
        {"filter": "{}"},
        {"filter": '[{"type": "string", "column": "colour", "operator": "=", "value": "x"}]'},
        {"filter": '[{"type": "string", "column": "name", "operator": "~", "value": "x"}]'},
        {"filter": '[{"type": "stringObject", "column": "metadata", "operator": "=", "value": 1}]'},
    ):
        reply = langfuse.http.get("/v2/observations", params=query)
        assert reply.status_code == 400, query
        assert reply.json()["error"] == "InvalidRequestError"


SIMPLE = [
    ({"name": "triage"}, 1),
    ({"userId": "u"}, 1),
    ({"sessionId": "s"}, 1),
    ({"type": "SPAN"}, 1),
    ({"level": "ERROR"}, 1),
    ({"version": "v7"}, 1),
    ({"isRootObservation": "true"}, 2),
    ({"isRootObservation": "false"}, 1),
    ({"parentObservationId": ""}, 2),
]
STRUCTURED = [
    (condition("string", "name", "contains", "ria"), 1),
    (condition("string", "name", "does not contain", "ria"), 2),
    (condition("stringOptions", "type", "none of", ["SPAN"]), 2),
    (condition("arrayOptions", "tags", "all of", ["gold", "b"]), 1),
    (condition("arrayOptions", "traceTags", "none of", ["gold"]), 2),
    (condition("number", "latency", ">=", 1.5), 3),
    (condition("number", "inputTokens", ">", 4), 1),
    (condition("stringObject", "metadata", "=", "pro", key="tier"), 1),
    (condition("boolean", "isRootObservation", "=", False), 1),
    (condition("null", "userId", "is null", None), 2),
    (condition("string", "input", "matches", "USER"), 1),
]


@pytest.fixture
def three(langfuse, mark, first):
    """A full generation, a failed child that is an event, and a plain span."""
    here = {"langfuse.environment": mark}
    child = span(first + 1, **here, **{"langfuse.observation.type": "event"})
    child |= {"parentSpanId": f"{first:016x}", "status": {"code": 2, "message": "broke"}}
    langfuse.write(span(first, **FULL, **here), child, span(first + 2, **here))


@pytest.mark.parametrize(("query", "count"), SIMPLE, ids=str)
@pytest.mark.usefixtures("three")
def test_simple_filters(langfuse, mark, query, count) -> None:
    assert len(langfuse.observations(**where(mark), **query)) == count


@pytest.mark.parametrize(("given", "count"), STRUCTURED, ids=str)
@pytest.mark.usefixtures("three")
def test_structured_filters(langfuse, mark, given, count) -> None:
    here = condition("stringOptions", "environment", "any of", [mark])
    assert len(langfuse.observations(here, given)) == count


@pytest.mark.usefixtures("three")
def test_the_structured_filter_takes_the_place_of_the_simple_ones(langfuse, mark) -> None:
    here = condition("stringOptions", "environment", "any of", [mark])
    assert len(langfuse.observations(here, name="triage", toStartTime="2000-01-01T00:00:00Z")) == 3


def test_protobuf_and_gzip_say_the_same_as_json(langfuse, mark, first) -> None:
    request = ExportTraceServiceRequest()
    for number in range(2):
        one = request.resource_spans.add().scope_spans.add().spans.add()
        one.trace_id = (first + number).to_bytes(16, "big")
        one.span_id = (first + number).to_bytes(8, "big")
        one.name = "packed"
        one.start_time_unix_nano = (START + first) * 10**9
        for key, value in {"langfuse.environment": mark, "a": "b"}.items():
            given = one.attributes.add()
            given.key, given.value.string_value = key, value
        tags = one.attributes.add()
        tags.key = "langfuse.trace.tags"
        tags.value.array_value.values.add().string_value = "t"
    for body, headers in (
        (request.SerializeToString(), {}),
        (gzip.compress(request.SerializeToString()), {"content-encoding": "gzip"}),
    ):
        kind = {"content-type": "application/x-protobuf"}
        reply = langfuse.http.post("/otel/v1/traces", content=body, headers=kind | headers)
        assert (reply.status_code, reply.headers["content-type"]) == (200, kind["content-type"])
    seen = langfuse.observations(**where(mark), fields="trace_context,basic")
    assert [(one["name"], one["tags"]) for one in seen] == [("packed", ["t"])] * 2


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {"content-type": "text/plain"}, 400),
        (b"not json", {"content-type": "application/json"}, 400),
        (b"\xff\xff", {"content-type": "application/x-protobuf"}, 400),
        (b"plain", {"content-type": "application/json", "content-encoding": "gzip"}, 400),
        (b"{}", {"content-type": "application/json", "content-encoding": "br"}, 415),
        (json.dumps(export({"traceId": "zz", "spanId": "1", "startTimeUnixNano": "1"})).encode(),
         {"content-type": "application/json"}, 400),
    ],
)  # fmt: skip
def test_what_is_no_otlp_is_refused(langfuse, body, headers, status) -> None:
    reply = langfuse.http.post("/otel/v1/traces", content=body, headers=headers)
    assert reply.status_code == status
    assert reply.json()["message"]


def test_a_span_that_comes_again_takes_the_place_of_the_first(langfuse, mark, first) -> None:
    here = {"langfuse.environment": mark}
    langfuse.write(span(first, **here))
    langfuse.write(span(first, **here, **{"langfuse.observation.output": "later"}))
    (seen,) = langfuse.observations(**where(mark), fields="io")
    assert seen["output"] == "later"


def test_keys_are_asked_for(langfuse, sandbox) -> None:
    import httpx2 as httpx

    root = str(langfuse.http.base_url)
    assert httpx.get(f"{root}health").json()["status"] == "OK"
    for auth in (None, (PUBLIC_KEY, "sk-lf-wrong"), ("pk-lf-wrong", sandbox.api_key)):
        reply = httpx.get(f"{root}projects", auth=auth)
        assert (reply.status_code, reply.json()["error"]) == (401, "UnauthorizedError")
    sandbox.key(expired=True)
    assert langfuse.http.get("/projects").status_code == 401
    sandbox.key(expired=False)
    assert langfuse.get("/projects")["data"][0]["id"] == "understudy-sandbox"


def test_faults_play_on_its_operations(langfuse, sandbox, mark, first) -> None:
    on = "langfuse.observations.list"
    sandbox.faults(
        {"on": on, "do": "error", "status": 429, "retry_after": 3},
        {"on": on, "do": "langfuse_old_server", "after": 1},
        {"on": "langfuse.otel.export", "do": "langfuse_late", "seconds": 30},
    )
    busy = langfuse.http.get("/v2/observations")
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "3")
    old = langfuse.http.get("/v2/observations")
    assert (old.status_code, old.headers["content-type"][:9]) == (404, "text/html")
    langfuse.write(span(first, **{"langfuse.environment": mark}))
    assert langfuse.observations(**where(mark)) == []
    sandbox.advance(31)
    assert len(langfuse.observations(**where(mark))) == 1
    langfuse.write(span(first, **FULL, **{"langfuse.environment": mark}))
    sandbox.faults({"on": on, "do": "langfuse_parsed_io"})
    (parsed,) = langfuse.observations(**where(mark), fields="io")
    assert parsed["input"] == [{"role": "user", "content": "q"}]


def test_a_restart_forgets_nothing(tmp_path, first) -> None:
    from langfuse_face_kit import Langfuse
    from understudy_sandbox.launch import Sandbox

    with Sandbox(tmp_path) as own:
        client = Langfuse(own)
        client.write(span(first))
        client.post("/scores", [{"traceId": "t", "name": "a", "value": 1}], 202)
        own.restart()
        assert len(client.observations()) == 1
        assert len(client.get("/v3/scores")["data"]) == 1
        client.close()
