"""What is played on Azure's cassettes; how traffic is cleaned is in openai_cassette_kit.py.

A scenario runs twice with the same code: once against a real sandbox, whose clock and faults it
steers, and ever after against its cassette, where steering does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from azure_kit import MODEL, FakeTokens, wanted
from openai_cassette_kit import Steering
from openai_kit import Clock, rows_of
from understudy.errors import AuthError, NotFound, OutcomeUnknown, QuotaError
from understudy.model import ChatRequest, Found, Handle, JobSpec, RemoteState
from understudy_azure.backend import AzureBackend
from understudy_azure.settings import AzureSettings

FOLDER = Path(__file__).parents[3] / "cassettes" / "azure"
# Those of the sandbox, which need not be installed to replay.
SUBSCRIPTION, GROUP = "22222222-2222-4222-8222-222222222222", "understudy"
CREATE, PUT = "fine_tuning.jobs.create", "arm.deployments.create_or_update"
QUESTION: Any = ({"role": "user", "content": "order number 3"},)

Scenario = Callable[[AzureBackend, Steering, Path], None]


def backend_at(root: str, key: str, name: str, *, live: bool = False) -> AzureBackend:
    """The backend of a scenario; without a live server its tokens are made up."""
    settings = AzureSettings(
        endpoint=root,
        arm_endpoint=root,
        surface="classic" if name.endswith("-classic") else "v1",
        account="understudy-sandbox",
        subscription_id=SUBSCRIPTION,
        resource_group=GROUP,
        api_key=SecretStr(key),
        credential="managed",
    )
    backend = AzureBackend(name="azure", settings=settings, clock=Clock())
    if not live:
        fake: Any = FakeTokens()
        backend.tokens = backend.arm._tokens = fake
    return backend


def started(backend: AzureBackend, sandbox: Steering, folder: Path, key: str) -> Handle:
    spec = JobSpec(
        base_model=MODEL,
        method="supervised",
        training=rows_of(folder / "train.jsonl", count=10),
        hyperparameters={"n_epochs": 2},
        suffix="tape",
        seed=7,
    )
    files = backend.upload(spec, key=key)
    backend.poll_upload(files)
    sandbox.advance(2)
    assert type(backend.poll_upload(files)).__name__ == "UploadReady"
    return backend.create(spec, files, key=key)


def happy_path(backend: AzureBackend, sandbox: Steering, folder: Path) -> None:
    job = started(backend, sandbox, folder, "us-tape-happy")
    assert backend.poll(job).state is RemoteState.QUEUED
    sandbox.until(job.id, "succeeded")
    status = backend.poll(job)
    assert status.state is RemoteState.SUCCEEDED
    assert status.trained_tokens
    asked = wanted("tape-1", model=backend.model(job).id)
    deployment = backend.start_deployment(asked, key="us-tape-deploy")
    assert backend.poll_deployment(deployment).state is RemoteState.RUNNING
    sandbox.advance(6)
    assert backend.poll_deployment(deployment).model == "tape-1"
    question = ChatRequest(model="tape-1", messages=QUESTION)
    assert backend.complete(question, timeout=20).text in {"yes", "no"}
    (row,) = backend.list_deployments()
    assert (row.key, row.owner, row.sku) == ("us-tape-deploy", "worker@host", "DeveloperTier")
    backend.stop_deployment(deployment)
    sandbox.advance(3)
    assert backend.poll_deployment(deployment).state is RemoteState.CANCELLED
    with pytest.raises(NotFound):
        backend.complete(question, timeout=20)


def lost_replies(backend: AzureBackend, sandbox: Steering, folder: Path) -> None:
    sandbox.faults({"on": CREATE, "do": "error_after", "status": 500})
    with pytest.raises(OutcomeUnknown):
        started(backend, sandbox, folder, "us-tape-lost")
    file = next(str(handle.data["training_file"]) for handle, _ in backend.jobs())
    found = backend.find("us-tape-lost", Handle(kind="upload", id=file))
    assert isinstance(found, Found)
    backend.cancel(found.handle)
    assert backend.poll(found.handle).state is RemoteState.CANCELLED
    sandbox.faults({"on": PUT, "do": "error_after", "status": 500})
    asked = wanted("tape-2", model=MODEL, purpose="serving")
    with pytest.raises(OutcomeUnknown):
        backend.start_deployment(asked, key="us-tape-put")
    adopted = backend.find_deployment(asked, key="us-tape-put")
    assert isinstance(adopted, Found)
    assert backend.start_deployment(asked, key="us-tape-put") == adopted.handle
    backend.stop_deployment(adopted.handle)


def refusals(backend: AzureBackend, sandbox: Steering, folder: Path) -> None:
    asked = wanted("tape-3", model=MODEL, purpose="serving")
    for fault, kind in (("azure_no_role", AuthError), ("azure_quota", QuotaError)):
        sandbox.faults({"on": PUT, "do": fault})
        with pytest.raises(kind):
            backend.start_deployment(asked, key="us-tape-refused")
    sandbox.faults({"on": CREATE, "do": "fail_job", "code": "unsafe_file"})
    job = started(backend, sandbox, folder, "us-tape-unsafe")
    sandbox.until(job.id, "failed")
    problem = backend.poll(job).problem
    assert problem is not None
    assert problem.code == "unsafe_file"


def health(backend: AzureBackend, sandbox: Steering, folder: Path) -> None:
    assert all(check.ok for check in backend.doctor())
    life = backend.lifecycle(MODEL)
    assert life.training_until
    assert "ARM" in life.source


SCENARIOS: Mapping[str, Scenario] = {
    "happy-path": happy_path,
    "happy-path-classic": happy_path,
    "health": health,
    "lost-replies": lost_replies,
    "refusals-classic": refusals,
}
