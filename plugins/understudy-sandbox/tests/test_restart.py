"""What kill -9 leaves: everything that was answered."""

from __future__ import annotations

import json
import time

import openai
import pytest

from understudy_sandbox.demo.calls import calls
from understudy_sandbox.launch import Sandbox


def rows() -> bytes:
    made = [
        {"messages": [*c["messages"], {"role": "assistant", "content": c["reference"]}]}
        for c in calls(3, 120)
    ]
    return b"".join(json.dumps(r).encode() + b"\n" for r in made)


def wait(sandbox: Sandbox, look, *ends: str, step: float = 2.0):
    # The learner takes real time on a busy machine, whatever the sandbox's clock says.
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = look()
        if found.status in ends:
            return found
        sandbox.advance(step)
    return pytest.fail(f"{found.id} stays {found.status}")


def test_jobs_batches_models_bills_and_faults_survive_kill(tmp_path) -> None:
    with Sandbox(tmp_path, clock="2028-03-01T12:00:00") as sandbox:
        client = openai.OpenAI(base_url=sandbox.url, api_key=sandbox.api_key, max_retries=0)
        with client:
            file = client.files.create(file=("t.jsonl", rows()), purpose="fine-tune")
            jobs = client.fine_tuning.jobs
            first = jobs.create(model="gpt-4o-mini", training_file=file.id)
            done = wait(sandbox, lambda: jobs.retrieve(first.id), "succeeded")
            second = jobs.create(model="gpt-4o-mini", training_file=file.id, seed=4)
            wait(sandbox, lambda: jobs.retrieve(second.id), "running")
            sandbox.faults({"on": "models.list", "do": "error", "times": 2})
            with pytest.raises(openai.InternalServerError):
                client.models.list()
            ask = {
                "model": done.fine_tuned_model,
                "messages": [{"role": "user", "content": "track order red boots"}],
            }
            said = client.chat.completions.create(**ask).choices[0].message
            line = {
                "custom_id": "a",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]},
            }
            work = client.files.create(file=("b", json.dumps(line).encode()), purpose="batch")
            batch = client.batches.create(
                input_file_id=work.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            wait(sandbox, lambda: client.batches.retrieve(batch.id), "in_progress", step=0.5)
            bill, now = sandbox.bill(), sandbox.now()

            address = sandbox.url
            sandbox.restart()

            assert sandbox.url == address
            assert sandbox.now() >= now > 1_835_000_000
            assert sandbox.bill()["entries"] == bill["entries"]
            assert client.files.content(file.id).content == rows()
            assert jobs.retrieve(first.id) == done
            assert client.chat.completions.create(**ask).choices[0].message == said
            with pytest.raises(openai.InternalServerError):
                client.models.list()
            assert client.models.list().data
            ended = wait(sandbox, lambda: jobs.retrieve(second.id), "succeeded", "failed")
            assert ended.status == "succeeded"
            answered = wait(sandbox, lambda: client.batches.retrieve(batch.id), "completed")
            assert answered.request_counts.completed == 1
            assert [e["ref"] for e in sandbox.bill()["entries"]].count(batch.id) == 1
            training = [e for e in sandbox.bill()["entries"] if e["kind"] == "training"]
            assert [e["ref"] for e in training] == [first.id, second.id]
