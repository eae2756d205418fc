"""Langfuse's own SDKs write; Understudy reads examples. `make test` installs the npm packages."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from langfuse import Langfuse, propagate_attributes

from langfuse_kit import PUBLIC_KEY, root, settings, source

PACKAGES = Path(__file__).parents[3] / ".peers" / "node" / "node_modules"
DRIVER = Path(__file__).parent / "peers" / "trace.mjs"
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (PACKAGES / "@langfuse" / "otel").is_dir(),
    reason="node or Langfuse's npm packages are missing",
)
PYTHON = "python-sdk"
TOOL = {"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "track", "arguments": '{"order":7}'},
}


@pytest.fixture
def read(sandbox, environment, finish):
    def calls(**options: Any) -> dict[str, dict[str, Any]]:
        made = finish(source(sandbox, **{"environments": [environment], **options}))
        found = [dict(r.value) for page in made.pages(None) for r in page.records]
        return {one["id"]: one for one in found}

    return calls


@pytest.fixture(scope="module")
def sdk(running):
    """The SDK knows one client for each public key in a process: one for these tests."""
    of = settings(running)
    made = Langfuse(
        public_key=of.public_key,
        secret_key=of.secret_key.get_secret_value(),
        base_url=of.base_url,
        environment=PYTHON,
    )
    yield made
    made.shutdown()


def test_the_python_sdks_generations_become_examples(sdk, read) -> None:
    asked = {"messages": [{"role": "user", "content": "Where is order 7?"}], "tools": [TOOL]}
    given = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    with (
        propagate_attributes(session_id="s-1", tags=["gold"], trace_name="support"),
        sdk.start_as_current_observation(name="agent", as_type="agent"),
        sdk.start_as_current_observation(
            name="triage",
            as_type="generation",
            model="gpt-4o",
            input=asked,
            model_parameters={"temperature": 0},
            metadata={"note": "n" * 250},
        ) as generation,
    ):
        generation.update(output=given, usage_details={"input": 9, "output": 3})
        sdk.score_current_span(name="helpful", value=0.75)
        sdk.score_current_trace(name="safe", value=1, data_type="BOOLEAN")
    sdk.flush()
    found = read(environments=[PYTHON], tags=["gold"], trace_names=["support"], metadata=["note"])
    ((identity, call),) = found.items()
    assert identity == f"langfuse:{generation.trace_id}/{generation.id}"
    assert call["messages"] == asked["messages"]
    assert call["tools"] == [TOOL]
    assert call["response"] == {"message": given, "usage": {"input": 9, "output": 3}}
    assert call["scores"] == {"helpful": 0.75, "safe": 1.0}
    assert call["conversation_id"] == "s-1"
    assert call["metadata"]["note"] == "n" * 250
    assert call["metadata"]["langfuse"]["parameters"] == {"temperature": 0}


def test_the_sdks_openai_wrapper_is_read(sdk, read, sandbox) -> None:
    """What most applications use: the OpenAI client that Langfuse wraps."""
    from langfuse.openai import OpenAI

    client = OpenAI(base_url=sandbox.url, api_key=sandbox.api_key)
    messages = [{"role": "system", "content": "You help."}, {"role": "user", "content": "Hello"}]
    reply = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=[TOOL])
    client.close()
    sdk.flush()
    (call,) = read(environments=[PYTHON], names=["OpenAI-generation"]).values()
    assert call["messages"] == messages
    assert call["tools"] == [TOOL]
    said = reply.choices[0].message.content
    assert call["response"]["message"]["content"] == said
    assert call["model"].startswith("gpt-4o-mini")


@needs_node
def test_the_npm_packages_generations_become_examples(sandbox, environment, read) -> None:
    command = ["node", str(DRIVER), str(PACKAGES), root(sandbox), PUBLIC_KEY, sandbox.api_key]
    done = subprocess.run(
        [*command, environment], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    calls = read()
    assert set(calls) == set(seen["written"])
    assert seen["read"] == 3
    first, second, old = (calls[name] for name in seen["written"])
    assert first["response"]["message"]["tool_calls"] == [CALL]
    assert [m["role"] for m in second["messages"]] == ["user", "assistant", "tool"]
    assert second["tools"][0]["function"]["name"] == "track"
    assert second["response"]["message"]["content"] == "It is on its way."
    assert (first["scores"], second["scores"]) == ({"helpful": 0.75}, {"helpful": 0.75})
    assert second["metadata"]["tier"] == "pro"
    assert old["response"]["message"]["content"] == "Hi."
    assert (old["conversation_id"], old["scores"]) == ("s-old", {"helpful": 1.0})
    assert old["metadata"]["langfuse"]["tags"] == ["legacy"]
