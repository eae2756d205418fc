"""Langfuse's replies against its published OpenAPI file, where it is there to read.

Where the sandbox does otherwise than the specification, TOLERANCES says so and why.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from langfuse_face_kit import span

yaml = pytest.importorskip("yaml")
SPEC = Path(__file__).parents[4] / "shared" / "specs" / "langfuse" / "api.openapi.yml"
pytestmark = pytest.mark.skipif(not SPEC.exists(), reason=f"no specification at {SPEC}")

LONG_AGO = "2020-01-01T00:00:00Z"
GENERATION = {
    "langfuse.observation.type": "generation",
    "langfuse.observation.model.name": "m",
    "langfuse.observation.metadata.a": '"b"',
    "langfuse.observation.input": "q",
    "langfuse.trace.tags": ["t"],
}
TOLERANCES = {
    # what is sent that the schema does not know, and why
    "ObservationV2.model": "the SDK of version 5 reads model, the file says providedModelName",
    "POST /scores": "a list is answered 202 or 207 (SDK 5); the file knows one score and 200",
}


@cache
def schemas() -> dict[str, Any]:
    """The file's schemas; only those blocks are parsed, which is quicker by far."""
    _, _, text = SPEC.read_text(encoding="utf-8").partition("\n  schemas:\n")
    blocks = re.split(r"^  \S", text, maxsplit=1, flags=re.MULTILINE)[0]
    return plain(yaml.load(blocks, Loader=yaml.CSafeLoader))


def plain(schema: Any) -> Any:
    """OpenAPI 3.0's ``nullable`` as JSON Schema says it; examples and discriminators left out."""
    if isinstance(schema, list):
        return [plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {k: plain(v) for k, v in schema.items() if k not in {"nullable", "discriminator"}}
    return {"anyOf": [made, {"type": "null"}]} if schema.get("nullable") is True else made


def check(name: str, value: Any) -> None:
    assert name in schemas()
    whole = {"components": {"schemas": schemas()}, "$ref": f"#/components/schemas/{name}"}
    errors = list(jsonschema.Draft202012Validator(whole).iter_errors(value))
    assert not errors, "; ".join(f"{list(e.absolute_path)}: {e.message[:200]}" for e in errors)


def test_observations_fit_and_have_no_field_of_their_own(langfuse, mark, first) -> None:
    langfuse.write(span(first, **GENERATION, **{"langfuse.environment": mark}))
    fields = "core,basic,time,io,metadata,model,usage,prompt,metrics,trace_context"
    reply = langfuse.get("/v2/observations", environment=mark, fields=fields)
    check("ObservationsV2Response", reply)
    own = set(reply["data"][0]) - set(schemas()["ObservationV2"]["properties"])
    assert own == {name.partition(".")[2] for name in TOLERANCES if name.startswith("Obs")}


def test_scores_fit(langfuse, mark) -> None:
    given = [
        {"traceId": mark, "name": "n", "value": 1},
        {"traceId": mark, "name": "b", "value": 1, "dataType": "BOOLEAN"},
        {"traceId": mark, "observationId": "o", "name": "c", "value": "x"},
        {"traceId": mark, "name": "output", "value": "x", "dataType": "CORRECTION"},
    ]
    langfuse.post("/scores", given, 202)
    check("CreateScoreResponse", langfuse.post("/scores", given[0]))
    reply = langfuse.get("/v3/scores", traceId=mark, fields="details,subject,annotation")
    assert len(reply["data"]) == 5
    check("GetScoresV3Response", reply)


def test_datasets_experiments_and_the_rest_fit(langfuse, mark, first) -> None:
    check("HealthResponse", langfuse.get("/health"))
    check("Projects", langfuse.get("/projects"))
    made = langfuse.post("/v2/datasets", {"name": mark})
    check("Dataset", made)
    check("PaginatedDatasets", langfuse.get("/v2/datasets"))
    check("DatasetItem", langfuse.post("/dataset-items", {"datasetName": mark, "input": 1}))
    check("PaginatedDatasetItems", langfuse.get("/dataset-items", datasetName=mark))
    given = {
        "langfuse.experiment.id": mark,
        "langfuse.experiment.name": "run",
        "langfuse.experiment.item.id": "i",
        "langfuse.experiment.item.root_observation_id": f"{first:016x}",
    }
    langfuse.write(span(first, **given))
    every = {"fromStartTime": LONG_AGO, "fields": "core,metadata,scores"}
    check("ExperimentsResponse", langfuse.get("/experiments", **every))
    every["fields"] = "core,dataset,io,metadata,itemMetadata,experimentMetadata,scores"
    check("ExperimentItemsResponse", langfuse.get("/experiment-items", **every))
    check("IngestionResponse", langfuse.post("/ingestion", {"batch": []}, 207))


def test_every_tolerance_has_a_reason() -> None:
    assert all(len(reason) > 20 for reason in TOLERANCES.values())
