"""The sandbox with this backend as its learner: OpenAI's client trains a real model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from export_kit import make_llama, no_servers_left
from local_kit import chats, until, write_rows
from smollm_kit import STUDENT, rows, scored

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
]


@pytest.fixture
def openai(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> Iterator[Any]:
    """OpenAI's own client at a sandbox whose learner is the test's parameter."""
    for package in ("trl", "cyllama", "xllamacpp"):
        pytest.importorskip(package, reason="needs understudy-local[train,gguf]")
    from openai import OpenAI

    from understudy_sandbox.launch import Sandbox

    student = request.param or make_llama(tmp_path / "tiny")
    home = tmp_path / "home"
    monkeypatch.setenv("UNDERSTUDY_LOCAL_HOME", str(home))
    sandbox = Sandbox(
        tmp_path / "data",
        learner=f"local:{student}",
        train_seconds=0,
        queue_seconds=0,
        validate_seconds=0,
    )
    with (
        no_servers_left(home),
        sandbox,
        OpenAI(base_url=sandbox.url, api_key=sandbox.api_key, timeout=300) as client,
    ):
        yield client


def train(client: Any, path: Path, epochs: int, *, seconds: float) -> Any:
    file = client.files.create(file=path, purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model="gpt-4o-mini-2024-07-18",
        training_file=file.id,
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": epochs}},
        },
        seed=7,
    )

    def look() -> Any:
        now = client.fine_tuning.jobs.retrieve(job.id)
        return now if now.status in {"succeeded", "failed", "cancelled"} else None

    ended = until(look, seconds=seconds)
    assert ended.status == "succeeded", ended.error
    return ended


def losses(client: Any, job: str) -> list[float]:
    events = client.fine_tuning.jobs.list_events(job, limit=100).data
    told = [event.data for event in reversed(events) if event.type == "metrics"]
    return [one["train_loss"] for one in told]


def ask(client: Any, model: str, messages: Any) -> str:
    reply = client.chat.completions.create(
        model=model, messages=messages, temperature=0, max_tokens=64
    )
    return str(reply.choices[0].message.content)


@pytest.mark.parametrize("openai", [None], indirect=True, ids=["tiny"])
def test_openais_client_trains_a_real_model_and_asks_it(openai, tmp_path):
    path = tmp_path / "rows.jsonl"
    write_rows(path, chats(16))
    job = train(openai, path, 3, seconds=300)
    seen = losses(openai, job.id)
    assert len(seen) >= 2
    assert seen[-1] < seen[0]
    assert isinstance(ask(openai, job.fine_tuned_model, chats(1)[0]["messages"][:1]), str)
    # It is a model of its own, in this backend's home; what was trained is found again.
    (made,) = (tmp_path / "home" / "jobs").iterdir()
    assert json.loads((made / "outcome.json").read_text())["state"] == "succeeded"
    assert list(made.glob("gguf/*.gguf"))


@pytest.mark.prove
@pytest.mark.parametrize("openai", [STUDENT], indirect=True)
def test_a_student_learns_the_task_behind_openais_wire(openai, tmp_path, capsys):
    training, held_out = rows()
    path = tmp_path / "rows.jsonl"
    write_rows(path, training)
    job = train(openai, path, 2, seconds=3000)
    seen = losses(openai, job.id)
    scores = [
        scored(ask(openai, job.fine_tuned_model, row["messages"]), row["label"])
        for row in held_out[:20]
    ]
    with capsys.disabled():
        print(f"\nloss {seen[0]:.2f} -> {seen[-1]:.3f}, score {sum(scores) / 20:.3f}")  # noqa: T201
    assert seen[-1] < seen[0] / 2
    assert sum(scores) / 20 >= 0.5
