"""Sandboxes that speak Azure, backends for them, and the suite's hands at one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import SecretStr

from azure_kit import MODEL
from openai_adapter_kit import BATCH, SandboxAdapter
from openai_adapter_kit import STATUSES as OPENAI
from openai_kit import rows_of
from openai_sandbox_kit import SteppedSandbox, ThreadSandbox
from understudy.backend import Backend
from understudy.model import DeploymentSpec, Handle, JobSpec, RemoteState, UploadReady
from understudy.testing import ManualClock
from understudy_azure.backend import AzureBackend
from understudy_azure.plugin import understudy_backends
from understudy_azure.settings import AzureSettings
from understudy_sandbox.azure.settings import (
    CLIENT_ID,
    CLIENT_SECRET,
    RESOURCE_GROUP,
    SUBSCRIPTION,
    TENANT,
)

PUT = "arm.deployments.create_or_update"
CREATE = "fine_tuning.jobs.create"
STATUSES = {
    **{raw: state for raw, state in OPENAI.items() if state is not RemoteState.QUEUED},
    "created": RemoteState.QUEUED,
    "pending": RemoteState.QUEUED,
    "resuming": RemoteState.RESUMING,
}


def settings_for(sandbox: SteppedSandbox, **given: Any) -> AzureSettings:
    """A key for the data plane, a managed identity for ARM; no TLS."""
    chosen: dict[str, Any] = {
        "endpoint": sandbox.azure_url,
        "account": "understudy-sandbox",
        "api_key": SecretStr(sandbox.api_key),
        "credential": "managed",
        "arm_endpoint": sandbox.azure_url,
        "subscription_id": SUBSCRIPTION,
        "resource_group": RESOURCE_GROUP,
        **given,
    }
    return AzureSettings(**chosen)


def principal(sandbox: SteppedSandbox, **given: Any) -> AzureSettings:
    """A service principal for both planes, over TLS."""
    chosen: dict[str, Any] = {
        "endpoint": sandbox.tls_url,
        "arm_endpoint": sandbox.tls_url,
        "authority_host": sandbox.tls_url,
        "ca_file": sandbox.ca_file,
        "api_key": None,
        "credential": "service-principal",
        "tenant_id": TENANT,
        "client_id": CLIENT_ID,
        "client_secret": SecretStr(CLIENT_SECRET),
        **given,
    }
    return settings_for(sandbox, **chosen)


def backend_of(settings: AzureSettings) -> AzureBackend:
    return AzureBackend(name="azure", settings=settings, clock=ManualClock())


def job_of(folder: Path, **fields: Any) -> JobSpec:
    given: dict[str, Any] = {
        "base_model": MODEL,
        "method": "supervised",
        "training": rows_of(folder / "train.jsonl", count=10),
        "hyperparameters": {"n_epochs": 2},
        **fields,
    }
    return JobSpec(**given)


def uploaded(backend: AzureBackend, sandbox: SteppedSandbox, spec: JobSpec, key: str) -> Handle:
    files = backend.upload(spec, key=key)
    sandbox.advance(2)
    assert backend.poll_upload(files) == UploadReady()
    return files


def trained(backend: AzureBackend, sandbox: SteppedSandbox, spec: JobSpec, key: str) -> Handle:
    job = backend.create(spec, uploaded(backend, sandbox, spec, key), key=key)
    sandbox.until(job.id, "succeeded")
    return job


class Watched(AzureBackend):
    """Notes the files of each key: the sandbox's Azure keeps none with its jobs."""

    files: dict[str, str]

    def upload(self, spec: JobSpec, *, key: str) -> Handle:
        handle = super().upload(spec, key=key)
        self.files[key] = handle.id
        return handle


class AzureAdapter(SandboxAdapter):
    """Hands at the Azure face of a sandbox of this process."""

    backend_spec = next(understudy_backends())
    statuses = STATUSES

    def __init__(self, sandbox: ThreadSandbox, *, surface: str) -> None:
        super().__init__(sandbox)
        self.surface = surface
        self.files: dict[str, str] = {}

    def fresh_backend(self) -> Backend:
        settings = settings_for(self.sandbox, surface=self.surface)
        made = Watched(name="mine", settings=settings, clock=ManualClock())
        made.files = self.files
        self.made.append(made)
        return made

    def requests(self) -> int:
        # Entra ID and a machine's identity are not the provider.
        counts = self.sandbox.state()["requests"].items()
        return sum(number for name, number in counts if not name.startswith(("entra.", "imds.")))

    def paid_requests(self) -> int:
        counts = self.sandbox.state()["requests"]
        return sum(int(counts.get(name, 0)) for name in (CREATE, PUT, BATCH))

    def count_jobs(self, key: str) -> int:
        files = [one["training_file"] for one in self.sandbox.state()["jobs"]]
        return files.count(self.files.get(key))

    def make_status(self, handle: Handle, raw: str) -> None:
        super().make_status(handle, raw)
        if raw == "running" and self.sandbox.status(handle.id) == raw:
            # For a moment after a pause it says that it is resuming.
            self.sandbox.advance(1)

    def batch_model(self, backend: Backend, spec: JobSpec) -> str:
        return self._deployed(backend, spec.base_model, "bulk-1", sku="GlobalBatch")

    # -- deployments ---------------------------------------------------------------------------

    def answering(self, backend: Backend, spec: JobSpec) -> str:
        return self._deployed(backend, spec.base_model, "base-1")

    def _deployed(self, backend: Backend, model: str, name: str, sku: str | None = None) -> str:
        assert isinstance(backend, AzureBackend)
        wanted = DeploymentSpec(
            name=name, model=model, base_model=model, purpose="serving", owner="suite", sku=sku
        )
        handle = backend.start_deployment(wanted, key=f"us-{name}")
        self.sandbox.advance(60)
        assert backend.poll_deployment(handle).model == name
        return name

    def count_deployments(self) -> int:
        standing = self.sandbox.state()["deployments"]
        return sum(".ft-" in one["model"] and one["state"] != "Deleting" for one in standing)

    def fail_after_deploy(self) -> None:
        self.fault(on=PUT, do="error_after")

    def lose_deploy_reply(self) -> None:
        self.fault(on=PUT, do="drop_after")

    def make_deployment_fail(self, handle: Handle) -> None:
        self.fault(on=PUT, do="azure_deploy_fails", seconds=1)
        backend = self.fresh_backend()
        assert isinstance(backend, AzureBackend)
        backend.scale_deployment(handle, 50)
        self.sandbox.advance(2)
