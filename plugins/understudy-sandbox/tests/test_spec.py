"""Requests and responses against OpenAI's own OpenAPI file, where it is there to read.

Where real traffic does otherwise than the specification, TOLERANCES says so and why.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import httpx2 as httpx
import jsonschema
import pytest

yaml = pytest.importorskip("yaml")
SPEC = Path(__file__).parents[4] / "shared" / "specs" / "openai" / "openapi.yaml"
pytestmark = pytest.mark.skipif(not SPEC.exists(), reason=f"no specification at {SPEC}")

TOLERANCES = {
    # schema, property: what is sent that the schema does not know
    ("FineTuningJob", "error"): "an empty object stands for no error (recorded 2024-10)",
    ("FineTuningJob", "status"): "pausing and paused came after the enumeration was written",
    ("FineTuningJob", "estimated_finish"): "null as long as the job does not run",
    ("OpenAIFile", "expires_at"): "null where the file does not expire (recorded)",
    ("OpenAIFile", "status_details"): "null where there is nothing to say (recorded)",
    ("Upload", "file"): "null until the upload is complete (nullable beside allOf says nothing)",
    ("Batch", "*"): "times, files, model and errors are null until they are known (recorded)",
}
_BATCH_NULLS = {"errors", "output_file_id", "error_file_id", "model"}


ROOTS = (
    "Batch",
    "CreateChatCompletionRequest",
    "CreateChatCompletionResponse",
    "CreateFineTuningJobRequest",
    "CreateUploadRequest",
    "DeleteFineTuningCheckpointPermissionResponse",
    "FineTuningJob",
    "ListBatchesResponse",
    "ListFilesResponse",
    "ListFineTuningCheckpointPermissionResponse",
    "ListFineTuningJobCheckpointsResponse",
    "ListFineTuningJobEventsResponse",
    "ListModelsResponse",
    "ListPaginatedFineTuningJobsResponse",
    "Model",
    "OpenAIFile",
    "Upload",
    "UploadPart",
)


def needed(text: str) -> str:
    """The schemas that ROOTS lead to, as YAML: reading the whole file takes many seconds."""
    _, _, schemas = text.partition("\n  schemas:\n")
    pieces = re.split(r"^    (\w+):\n", schemas, flags=re.MULTILINE)
    blocks = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    wanted, todo = {}, list(ROOTS)
    while todo:
        name = todo.pop()
        if name not in wanted:
            # What follows the last schema is indented less and belongs to another section.
            wanted[name] = re.split(r"^ {0,3}\S", blocks[name], flags=re.MULTILINE)[0]
            todo += re.findall(r"#/components/schemas/(\w+)", wanted[name])
    return "".join(f"{name}:\n{block}" for name, block in wanted.items())


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(needed(SPEC.read_text(encoding="utf-8")), loader)


def plain(schema: Any) -> Any:
    """OpenAPI 3.0's ``nullable`` as JSON Schema says it."""
    if isinstance(schema, list):
        return [plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {k: plain(v) for k, v in schema.items() if k not in {"nullable", "example", "x-oaiMeta"}}
    return {"anyOf": [made, {"type": "null"}]} if schema.get("nullable") is True else made


@pytest.fixture(scope="module")
def check(spec):
    components = {"components": {"schemas": plain(spec)}}

    def run(name: str, value: Any) -> None:
        schema = {**components, "$ref": f"#/components/schemas/{name}"}
        errors = list(jsonschema.Draft202012Validator(schema).iter_errors(value))
        assert not errors, "; ".join(f"{list(e.absolute_path)}: {e.message[:200]}" for e in errors)

    return run


def tolerated(name: str, value: dict[str, Any]) -> dict[str, Any]:
    """The value without what TOLERANCES lists."""
    made = copy.deepcopy(value)
    if name == "FineTuningJob" and made["error"] == {}:
        made["error"] = None
    if name == "FineTuningJob" and made["status"] in {"pausing", "paused"}:
        made["status"] = "running"
    if name == "Batch":
        made = {
            k: v
            for k, v in made.items()
            if v is not None or not (k.endswith("_at") or k in _BATCH_NULLS)
        }
    if name == "OpenAIFile":
        made = {k: v for k, v in made.items() if v is not None}
    if name == "Upload" and made["file"] is None:
        del made["file"]
    if name == "Upload" and "file" in made:
        made["file"] = tolerated("OpenAIFile", made["file"])
    return made


@pytest.fixture
def ask(sandbox):
    headers = {"Authorization": f"Bearer {sandbox.api_key}"}
    with httpx.Client(base_url=sandbox.url, headers=headers, timeout=30) as http:

        def send(method: str, path: str, body: Any = None, **more: Any) -> Any:
            reply = http.request(method, path.lstrip("/"), json=body, **more)
            assert reply.status_code == 200, reply.text
            return reply.json()

        yield send


def test_jobs_events_and_checkpoints_fit(ask, check, trained, small_file) -> None:
    body = {
        "model": "gpt-4o-mini",
        "training_file": small_file.id,
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
        "metadata": {"k": "v"},
        "suffix": "s",
        "seed": 1,
        "integrations": [{"type": "wandb", "wandb": {"project": "p"}}],
    }
    check("CreateFineTuningJobRequest", body)
    check("FineTuningJob", tolerated("FineTuningJob", ask("POST", "/fine_tuning/jobs", body)))
    done = f"/fine_tuning/jobs/{trained.id}"
    check("FineTuningJob", tolerated("FineTuningJob", ask("GET", done)))
    jobs = ask("GET", "/fine_tuning/jobs?limit=5")
    jobs["data"] = [tolerated("FineTuningJob", j) for j in jobs["data"]]
    check("ListPaginatedFineTuningJobsResponse", jobs)
    check("ListFineTuningJobEventsResponse", ask("GET", f"{done}/events"))
    check("ListFineTuningJobCheckpointsResponse", ask("GET", f"{done}/checkpoints"))


def test_paused_jobs_fit(client, ask, *, check, small_file, finish) -> None:
    job = client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=small_file.id)
    finish(job, "running", step=1)
    for path in ("pause", "resume", "cancel"):
        shown = ask("POST", f"/fine_tuning/jobs/{job.id}/{path}")
        check("FineTuningJob", tolerated("FineTuningJob", shown))


def test_models_fit(ask, check, trained) -> None:
    check("ListModelsResponse", ask("GET", "/models"))
    check("Model", ask("GET", f"/models/{trained.fine_tuned_model}"))


def test_files_and_uploads_fit(ask, check, small_file) -> None:
    listed = ask("GET", "/files?limit=5")
    listed["data"] = [tolerated("OpenAIFile", f) for f in listed["data"]]
    check("ListFilesResponse", listed)
    body = {"filename": "a", "purpose": "batch", "bytes": 2, "mime_type": "text/jsonl"}
    check("CreateUploadRequest", body)
    upload = ask("POST", "/uploads", body)
    check("Upload", tolerated("Upload", upload))
    part = ask("POST", f"/uploads/{upload['id']}/parts", files={"data": ("p", b"{}")})
    check("UploadPart", part)
    done = ask("POST", f"/uploads/{upload['id']}/complete", {"part_ids": [part["id"]]})
    check("Upload", tolerated("Upload", done))


def test_permissions_fit(ask, check, trained) -> None:
    path = f"/fine_tuning/checkpoints/{trained.fine_tuned_model}/permissions"
    made = ask("POST", path, {"project_ids": ["proj_x"]})
    check("ListFineTuningCheckpointPermissionResponse", made)
    gone = ask("DELETE", f"{path}/{made['data'][0]['id']}")
    check("DeleteFineTuningCheckpointPermissionResponse", gone)


def test_completions_fit(ask, check, trained) -> None:
    body = {
        "model": trained.fine_tuned_model,
        "messages": [{"role": "user", "content": "track order"}],
        "temperature": 0,
    }
    check("CreateChatCompletionRequest", body)
    check("CreateChatCompletionResponse", ask("POST", "/chat/completions", body))


def test_batches_fit(client, ask, check, upload, finish) -> None:
    line = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]},
    }
    body = {
        "input_file_id": upload([line], "batch").id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    made = ask("POST", "/batches", body)
    check("Batch", tolerated("Batch", made))
    done = finish(client.batches.retrieve(made["id"]))
    check("Batch", tolerated("Batch", ask("GET", f"/batches/{done.id}")))
    listed = ask("GET", "/batches?limit=3")
    listed["data"] = [tolerated("Batch", b) for b in listed["data"]]
    check("ListBatchesResponse", listed)


def test_every_tolerance_has_a_reason() -> None:
    assert all(len(reason) > 20 for reason in TOLERANCES.values())


def test_our_chat_request_knows_every_field_of_the_specification(spec) -> None:
    from understudy_sandbox.schemas import ChatRequest

    def properties(schema: dict[str, Any]) -> set[str]:
        if "$ref" in schema:
            return properties(spec[schema["$ref"].rsplit("/", 1)[1]])
        inner = [properties(part) for part in schema.get("allOf", ())]
        return set(schema.get("properties", {})).union(*inner)

    named = properties(spec["CreateChatCompletionRequest"])
    other_than_text = {"audio", "web_search_options", "moderation"}
    caching = {"prompt_cache_retention", "prompt_cache_options"}
    assert len(named) > 25
    assert named - set(ChatRequest.model_fields) <= other_than_text | caching
