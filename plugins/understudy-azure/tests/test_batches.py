"""Batches on Azure against the sandbox: base models, its own deployments, its own quirks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

pytest.importorskip("understudy_sandbox", reason="needs the sandbox plugin")

from azure_kit import MODEL
from azure_sandbox_kit import backend_of, settings_for
from openai_batch_kit import batch_spec, ended, replies, started
from openai_sandbox_kit import ThreadSandbox, thread_sandbox
from understudy.errors import NotEligible
from understudy.model import BatchSpec, DeploymentSpec, Handle, RemoteState, UploadPending
from understudy_azure.backend import AzureBackend

CREATE = "batches.create"
BULK = "bulk-4o-mini"
TUNED = f"{MODEL}.ft-{'0' * 32}-shop"


@pytest.fixture(scope="module", params=["v1", "classic"])
def surface(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def shared(surface: str) -> Iterator[ThreadSandbox]:
    with thread_sandbox(clock_speed=0.0) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", running.azure_url)
        backend = backend_of(settings_for(running, surface=surface))
        wanted = DeploymentSpec(
            name=BULK,
            model=MODEL,
            base_model=MODEL,
            purpose="serving",
            owner="tests",
            sku="GlobalBatch",
        )
        handle = backend.start_deployment(wanted, key="us-bulk")
        running.advance(60)
        assert backend.poll_deployment(handle).state is RemoteState.SUCCEEDED
        backend.close()
        yield running


@pytest.fixture
def backend(shared: ThreadSandbox, surface: str) -> Iterator[AzureBackend]:
    settings = settings_for(shared, surface=surface, batch_deployments={MODEL: BULK})
    made = backend_of(settings)
    yield made
    shared.faults()
    made.close()


@pytest.fixture
def spec(backend: AzureBackend, tmp_path: Path) -> BatchSpec:
    return batch_spec(backend, tmp_path, [f"order {number}" for number in range(20)], model=MODEL)


def test_a_base_model_is_asked_through_its_batch_deployment(
    shared: ThreadSandbox, backend: AzureBackend, spec: BatchSpec, tmp_path: Path
) -> None:
    first = orjson.loads(Path(spec.path).read_bytes().splitlines()[0])
    assert (first["url"], first["body"]["model"]) == ("/chat/completions", BULK)
    batch = started(backend, spec, sandbox=shared, key="us-a-1")
    look = ended(backend, shared, batch)
    # Azure's batch shows no usage: the rows do.
    assert (look.state, look.completed, look.usage) == (RemoteState.SUCCEEDED, 20, None)
    fetched = backend.fetch_batch(batch, tmp_path / "out")
    # The error file is there, and empty.
    assert [Path(path).stat().st_size > 0 for path in fetched.paths] == [True, False]
    lines = Path(fetched.paths[0]).read_bytes().splitlines()
    rows = [orjson.loads(line) for line in lines]
    assert not any("id" in row for row in rows)
    assert [row["custom_id"] for row in rows] != [f"r{number}" for number in range(20)]
    found = replies(backend, batch, tmp_path / "out")
    assert set(found) == {f"r{number}" for number in range(20)}
    assert all(one.reply and one.reply.usage.input > 0 for one in found.values())


def test_a_batch_waits_for_its_file(shared: ThreadSandbox, surface: str, tmp_path: Path) -> None:
    with thread_sandbox(clock_speed=0.0, timings=slow()) as own:
        backend = backend_of(settings_for(own, surface=surface))
        spec = batch_spec(backend, tmp_path, ["hi"], model=BULK)
        files = backend.upload_batch(spec, key="us-a-2")
        assert isinstance(backend.poll_batch_upload(files), UploadPending)
        own.advance(60)
        assert not isinstance(backend.poll_batch_upload(files), UploadPending)
        backend.close()


def slow() -> object:
    from understudy_sandbox.config import Timings

    return Timings(processing=30.0)


def test_times_may_be_iso_dates(
    shared: ThreadSandbox, backend: AzureBackend, spec: BatchSpec
) -> None:
    shared.faults({"on": CREATE, "do": "azure_iso_dates"})
    batch = started(backend, spec, sandbox=shared, key="us-a-3")
    assert batch.data["created_at"] == pytest.approx(shared.now(), abs=2)


def test_files_go_by_themselves_after_a_while(
    shared: ThreadSandbox, backend: AzureBackend, spec: BatchSpec
) -> None:
    # A resource holds 500 batch files that stay.
    files = backend.upload_batch(spec, key="us-a-4")
    shown = backend.client.files.retrieve(files.id).to_dict()
    assert shown["expires_at"] - shown["created_at"] == 14 * 24 * 3600


def test_a_refused_row_of_the_content_filter_is_refused(
    shared: ThreadSandbox, backend: AzureBackend, spec: BatchSpec, tmp_path: Path
) -> None:
    shared.faults({"on": CREATE, "do": "filter_rows", "fraction": 0.25})
    batch = started(backend, spec, sandbox=shared, key="us-a-5")
    ended(backend, shared, batch)
    found = replies(backend, batch, tmp_path / "out")
    assert [one.outcome for one in found.values()].count("refused") == 5


@pytest.mark.parametrize("model", [TUNED, f"ft:{MODEL}"])
def test_fine_tunes_cannot_batch_and_it_says_what_can(backend: AzureBackend, model: str) -> None:
    with pytest.raises(NotEligible, match=r"fine-tuned models cannot batch.*live.*GlobalBatch"):
        backend.batch_limits(model)


def test_limits_are_azures(backend: AzureBackend) -> None:
    limits = backend.batch_limits(MODEL)
    assert (limits.requests, limits.bytes, limits.models) == (100_000, 200_000_000, 1)
    assert limits.enqueued_tokens is None
    assert "2026-11-22" in limits.source


def test_a_deployment_that_takes_no_batches_fails_it_with_a_reason(
    shared: ThreadSandbox, backend: AzureBackend, spec: BatchSpec, tmp_path: Path
) -> None:
    other = replace(batch_spec(backend, tmp_path, ["hi"], model="no-such-deployment"))
    batch = started(backend, other, sandbox=shared, key="us-a-6")
    look = ended(backend, shared, batch)
    assert look.state is RemoteState.FAILED
    assert look.problem is not None
    assert not look.over_quota


def test_a_batch_is_cancelled_with_a_body(
    shared: ThreadSandbox, backend: AzureBackend, spec: BatchSpec
) -> None:
    # Without one, Azure answers 411.
    batch = started(backend, spec, sandbox=shared, key="us-a-7")
    backend.cancel_batch(Handle(kind="batch", id=batch.id))
    assert ended(backend, shared, batch).state is RemoteState.CANCELLED
