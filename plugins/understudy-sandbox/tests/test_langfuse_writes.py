"""Scores, datasets, experiments and the batch ingestion of older SDKs."""

from __future__ import annotations

from typing import Any

import pytest

from langfuse_face_kit import span

NAMES = ("comment", "configId", "metadata", "subject", "authorUserId", "queueId")
LONG_AGO = "2020-01-01T00:00:00Z"


def scores(langfuse, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = langfuse.get("/v3/scores", **query)["data"]
    return found


def test_scores_of_every_kind(langfuse, mark) -> None:
    given = [
        {"traceId": mark, "name": "n", "value": 0.5, "comment": "c", "metadata": {"a": 1}},
        {"traceId": mark, "observationId": "o", "name": "b", "value": 1, "dataType": "BOOLEAN"},
        {"traceId": mark, "name": "t", "value": "kind"},
    ]
    assert langfuse.post("/scores", given, 202) == {"message": "Accepted"}
    one = langfuse.post("/scores", {"id": f"s-{mark}", **given[0]})
    assert one == {"id": f"s-{mark}"}
    seen = scores(langfuse, traceId=mark, fields="subject,details")
    kinds = {(s["name"], s["dataType"], s["value"], s["subject"]["kind"]) for s in seen}
    assert kinds == {
        ("n", "NUMERIC", 0.5, "trace"),
        ("b", "BOOLEAN", True, "observation"),
        ("t", "CATEGORICAL", "kind", "trace"),
    }
    assert len(seen) == 4
    assert all(not s.keys() & set(NAMES) for s in scores(langfuse, traceId=mark))
    assert len(scores(langfuse, traceId=mark, dataType="boolean")) == 1
    assert len(scores(langfuse, traceId=mark, name="n,t")) == 3


def test_a_score_of_the_same_id_takes_the_place_of_the_first(langfuse, mark) -> None:
    for value in (1, 2):
        langfuse.post("/scores", {"id": mark, "traceId": mark, "name": "n", "value": value})
    (seen,) = scores(langfuse, traceId=mark)
    assert seen["value"] == 2
    assert langfuse.http.delete(f"/scores/{mark}").status_code == 202
    assert langfuse.http.delete(f"/scores/{mark}").status_code == 404
    assert scores(langfuse, traceId=mark) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": 1},
        {"name": "n", "value": None},
        {"name": "n", "value": "x", "dataType": "NUMERIC"},
        {"name": "n", "value": 2, "dataType": "BOOLEAN"},
        {"name": "n", "value": 1, "dataType": "TEXT"},
        {"name": "n", "value": 1, "sessionId": "s"},
        {"name": "n", "value": 1, "traceId": None},
        {"name": "n", "value": 1, "traceId": None, "observationId": "o"},
        {"name": "n", "value": 1, "timestamp": "now"},
    ],
)
def test_what_is_no_score_is_refused_and_the_rest_is_taken(langfuse, mark, wrong) -> None:
    good = {"traceId": mark, "name": "good", "value": 1}
    bad = {"traceId": mark, **wrong}
    told = langfuse.post("/scores", [good, bad], 207)
    assert (told["accepted"], told["rejected"]) == (1, 1)
    assert len(told["errors"][0]["message"]) > 10
    assert [s["name"] for s in scores(langfuse, traceId=mark)] == ["good"]
    assert langfuse.http.post("/scores", json=bad).status_code == 400


def test_scores_are_paged_and_their_lists_checked(langfuse, mark) -> None:
    many = [{"traceId": mark, "name": f"n{i}", "value": i} for i in range(7)]
    langfuse.post("/scores", many, 202)
    seen, query = [], {"traceId": mark, "limit": 3}
    while True:
        page = langfuse.get("/v3/scores", **query)
        seen += page["data"]
        if "cursor" not in page["meta"]:
            break
        query["cursor"] = page["meta"]["cursor"]
    assert sorted(s["value"] for s in seen) == list(range(7))
    for wrong in ({"limit": 101}, {"fields": "all"}, {"observationId": "o"}):
        assert langfuse.http.get("/v3/scores", params=wrong).status_code == 400


def test_datasets_and_items(langfuse, mark) -> None:
    missing = langfuse.http.post("/dataset-items", json={"datasetName": mark})
    assert (missing.status_code, missing.json()["error"]) == (404, "LangfuseNotFoundError")
    made = langfuse.post("/v2/datasets", {"name": mark, "description": "first"})
    again = langfuse.post("/v2/datasets", {"name": mark, "description": "second"})
    assert (made["id"], again["description"]) == (again["id"], "second")
    assert langfuse.get(f"/v2/datasets/{mark}")["id"] == made["id"]
    assert mark in {one["name"] for one in langfuse.get("/v2/datasets", limit=100)["data"]}
    for value in (1, 2):
        body = {"datasetName": mark, "id": f"i-{mark}", "input": value, "sourceTraceId": "t"}
        langfuse.post("/dataset-items", body)
    langfuse.post("/dataset-items", {"datasetName": mark, "status": "ARCHIVED"})
    page = langfuse.get("/dataset-items", datasetName=mark, limit=1)
    assert page["meta"] == {"page": 1, "limit": 1, "totalItems": 2, "totalPages": 2}
    (kept,) = langfuse.get("/dataset-items", datasetName=mark, sourceTraceId="t")["data"]
    assert (kept["input"], kept["status"], kept["mediaReferences"]) == (2, "ACTIVE", [])
    other = langfuse.post("/v2/datasets", {"name": f"{mark}-b"})
    stolen = langfuse.http.post(
        "/dataset-items", json={"datasetName": other["name"], "id": f"i-{mark}"}
    )
    assert stolen.status_code == 404
    assert langfuse.http.delete(f"/dataset-items/i-{mark}").status_code == 200
    assert langfuse.http.get(f"/dataset-items/i-{mark}").status_code == 404


def test_experiments_follow_from_their_spans(langfuse, mark, first) -> None:
    def item(number: int) -> dict[str, Any]:
        given = {
            "langfuse.experiment.id": f"e-{mark}",
            "langfuse.experiment.name": "run",
            "langfuse.experiment.dataset.id": f"d-{mark}",
            "langfuse.experiment.item.id": f"i{number}",
            "langfuse.experiment.item.root_observation_id": f"{number:016x}",
            "langfuse.experiment.metadata": '{"a": 1}',
        }
        return span(number, **given)

    langfuse.write(item(first), item(first + 1), span(first + 2))
    run = {"datasetRunId": f"e-{mark}", "name": "mean", "value": 0.5}
    langfuse.post("/scores", [run, {"traceId": f"{first:032x}", "name": "x", "value": 1}], 202)
    here = {"fromStartTime": LONG_AGO, "datasetId": f"d-{mark}"}
    (shown,) = langfuse.get("/experiments", **here, fields="core,metadata,scores")["data"]
    assert (shown["itemCount"], shown["metadata"]) == (2, {"a": 1})
    assert [one["value"] for one in shown["scores"]] == [0.5]
    items = langfuse.get("/experiment-items", **here, fields="core,scores", limit=1)
    assert len(items["data"]) == 1
    cursor = items["meta"]["cursor"]
    rest = langfuse.get("/experiment-items", **here, fields="scores", limit=1, cursor=cursor)
    assert [one["value"] for one in rest["data"][0]["scores"]] == [1]
    assert langfuse.http.get("/experiments").status_code == 400


def test_the_batch_ingestion_of_older_sdks(langfuse, mark, first) -> None:
    def event(kind: str, body: dict[str, Any]) -> dict[str, Any]:
        name = f"{kind}-{body.get('id')}-{len(body)}"
        return {"id": name, "type": kind, "timestamp": LONG_AGO, "body": body}

    start = {"traceId": mark, "environment": mark, "startTime": "2026-01-01T00:00:00Z"}
    told = langfuse.post(
        "/ingestion",
        {
            "batch": [
                event("trace-create", {"id": mark, "name": "t", "tags": ["a"], "userId": "u"}),
                event("generation-create", {"id": f"g-{mark}", **start, "input": {"a": 1},
                                            "model": "m", "usage": {"promptTokens": 3}}),
                event("generation-update", {"id": f"g-{mark}", **start, "output": "o",
                                            "endTime": "2026-01-01T00:00:02Z"}),
                event("score-create", {"id": f"s-{mark}", "traceId": mark, "name": "n",
                                       "value": 1}),
                event("sdk-log", {}),
                event("span-create", {}),
                event("unknown-create", {"id": "x"}),
                "nothing",
            ]
        },
        207,
    )  # fmt: skip
    assert len(told["successes"]) == 5
    assert [one["status"] for one in told["errors"]] == [400, 400, 400]
    (seen,) = langfuse.observations(environment=mark, fields="io,model,usage,metrics,trace_context")
    assert (seen["type"], seen["input"], seen["output"]) == ("GENERATION", '{"a":1}', "o")
    assert (seen["tags"], seen["traceName"], seen["latency"]) == (["a"], "t", 2.0)
    assert seen["usageDetails"] == {"input": 3}
    assert len(scores(langfuse, traceId=mark)) == 1
    assert langfuse.http.post("/ingestion", json={"batch": 1}).status_code == 400


def test_openais_usage_is_taken_apart(langfuse, mark, first) -> None:
    usage = (
        '{"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14,'
        ' "prompt_tokens_details": {"cached_tokens": 6}, "completion_tokens_details": null}'
    )
    given = {"langfuse.observation.usage_details": usage, "langfuse.environment": mark}
    langfuse.write(span(first, **given))
    (seen,) = langfuse.observations(environment=mark, fields="usage")
    assert seen["usageDetails"] == {
        "input": 4, "input_cached_tokens": 6, "output": 4, "total": 14,
    }  # fmt: skip
