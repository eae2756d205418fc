"""One sandbox for the whole run; each test gets it without faults. Time is advanced, not waited."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import openai
import pytest

from understudy_sandbox.demo.calls import calls
from understudy_sandbox.launch import Sandbox

# Tests are imported by path (importlib mode), which puts no folder on the path for helpers.
sys.path.insert(0, str(Path(__file__).parent))

from azure_face_kit import Azure, reach
from langfuse_face_kit import Langfuse

_NUMBERS = count()
BASE = "gpt-4o-mini-2024-07-18"
Finish = Callable[..., Any]


def rows_of(count: int, seed: int = 3) -> list[dict[str, Any]]:
    made = []
    for call in calls(seed, count * 2):
        response = call["response"]
        if response and response["finish_reason"] == "stop" and not call.get("flags"):
            message = response["message"]
            if message["content"]:
                made.append({"messages": [*call["messages"], message]})
    return made[:count]


def jsonl(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("sandbox"), batch_token_limit=400_000) as made:
        yield made


@pytest.fixture
def sandbox(running: Sandbox) -> Iterator[Sandbox]:
    yield running
    running.faults()
    running.release()


@pytest.fixture(scope="session")
def client(running: Sandbox) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=running.url, api_key=running.api_key, max_retries=0) as made:
        yield made


@pytest.fixture(scope="session")
def upload(client: openai.OpenAI) -> Callable[..., Any]:
    def send(rows: list[Any] | bytes, purpose: Any = "fine-tune") -> Any:
        body = rows if isinstance(rows, bytes) else jsonl(rows)
        return client.files.create(file=("rows.jsonl", body), purpose=purpose)

    return send


@pytest.fixture(scope="session")
def small_file(upload: Callable[..., Any]) -> Any:
    return upload(rows_of(60))


@pytest.fixture(scope="session")
def finish(running: Sandbox, client: openai.OpenAI) -> Finish:
    """Push the clock on until a job (or batch) has one of the statuses."""

    def until(thing: Any, *wanted: str, step: float = 5.0) -> Any:
        ends = set(wanted) or {"succeeded", "failed", "cancelled"}
        api = client.batches if thing.object == "batch" else client.fine_tuning.jobs
        if not wanted and thing.object == "batch":
            ends = {"completed", "failed", "cancelled", "expired"}
        return reach(lambda: api.retrieve(thing.id), lambda: running.advance(step), ends)

    return until


@pytest.fixture(scope="session")
def trained(client: openai.OpenAI, upload: Callable[..., Any], finish: Finish) -> Any:
    """A succeeded job on 400 rows of the demo's task, with a validation file."""
    job = client.fine_tuning.jobs.create(
        model="gpt-4o-mini",
        training_file=upload(rows_of(400)).id,
        validation_file=upload(rows_of(40, seed=5)).id,
        suffix="shop",
        metadata={"key": "trained"},
        seed=1,
    )
    return finish(job)


@pytest.fixture(scope="session")
def azure_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    folder = tmp_path_factory.mktemp("azure")
    with Sandbox(folder, tls=True, train_seconds=10, token_seconds=10**9) as made:
        azure = Azure(made)
        yield azure
        azure.close()


@pytest.fixture
def azure(azure_running: Azure) -> Iterator[Azure]:
    yield azure_running
    azure_running.sandbox.faults()
    azure_running.sandbox.release()


@pytest.fixture(scope="session")
def azure_file(azure_running: Azure) -> str:
    return azure_running.upload(jsonl(rows_of(60)))


@pytest.fixture(scope="session")
def azure_job(azure_running: Azure, azure_file: str) -> Any:
    """A succeeded job of the global tier, made on the classic surface."""
    job = azure_running.create(azure_file, suffix="shop", validation_file=azure_file)
    jobs = azure_running.classic.fine_tuning.jobs
    return azure_running.reach(lambda: jobs.retrieve(job.id), "succeeded")


@pytest.fixture
def langfuse(sandbox: Sandbox) -> Iterator[Langfuse]:
    made = Langfuse(sandbox)
    yield made
    made.close()


@pytest.fixture
def first() -> int:
    """A number for spans that no other test uses, nor the hundred after it."""
    return 100 * (next(_NUMBERS) + 1)


@pytest.fixture
def mark(first: int) -> str:
    """A name that no other test uses: an environment, a trace, a dataset."""
    return f"mark-{first}"


@pytest.fixture(scope="session")
def rows() -> Callable[[Path], tuple[Path, str]]:
    """Writes a training file; gives its path and the text of a batch with MODEL in it."""

    def write(folder: Path) -> tuple[Path, str]:
        path = folder / "train.jsonl"
        path.write_bytes(jsonl(rows_of(80)))
        messages = [{"role": "user", "content": "return my red boots"}]
        lines = [
            {
                "custom_id": f"r{i}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": "MODEL", "messages": messages},
            }
            for i in range(5)
        ]
        return path, jsonl(lines).decode()

    return write
