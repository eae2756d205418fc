"""What the crash matrix must know of each provider: its points, its settings, its books."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from understudy.engine.points import DEPLOY_LABELS, LABELS
from understudy.store.schema import operations
from understudy_sandbox.azure import settings as azure
from understudy_sandbox.launch import Sandbox

__all__ = ["PROVIDERS", "Provider"]

_JOBS = "fine_tuning.jobs.create"
_PUT = "arm.deployments.create_or_update"
Keys = Callable[[sa.Connection, list[dict[str, Any]]], Iterator[str]]


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One backend over the sandbox.

    Attributes:
        name: the backend, as a recipe names it.
        labels: points of the engine where workers are killed, in the order in which a job
            reaches them.
        held: ``before`` or ``after`` and the request that the sandbox holds while it is killed.
        frozen: points where a worker is stopped, and woken when its job has ended.
        deploys: whether models answer through deployments alone.
        options: of the sandbox.
        settings: of ``understudy.toml``.
        preload: modules that every worker would import.
        env: of a worker that speaks to a sandbox.
        keys: of the operations that created the sandbox's jobs.
    """

    name: str
    labels: tuple[str, ...]
    held: tuple[tuple[str, str], ...]
    frozen: tuple[str, ...]
    env: Callable[[Sandbox], dict[str, str]]
    keys: Keys
    preload: tuple[str, ...]
    deploys: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: str = ""

    @property
    def held_labels(self) -> dict[str, dict[str, str]]:
        """Label to the sandbox's rule."""
        return {
            f"held.{when}.{request}": {"on": request, "do": f"hold_{when}"}
            for when, request in self.held
        }

    @property
    def frozen_labels(self) -> dict[str, str]:
        """Label to the engine's point."""
        return {f"frozen.{point}": point for point in self.frozen}

    @property
    def all_labels(self) -> list[str]:
        """Everything that a matrix strikes at."""
        return [*self.held_labels, *self.labels, *self.frozen_labels]


def _openai_env(sandbox: Sandbox) -> dict[str, str]:
    return {"OPENAI_API_KEY": sandbox.api_key, "OPENAI_BASE_URL": sandbox.url}


def _openai_keys(_tx: sa.Connection, remote: list[dict[str, Any]]) -> Iterator[str]:
    for job in remote:
        yield job["metadata"]["understudy_key"]


def _azure_env(sandbox: Sandbox) -> dict[str, str]:
    return {
        "AZURE_OPENAI_ENDPOINT": sandbox.azure_url,
        "AZURE_OPENAI_API_KEY": sandbox.api_key,
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": sandbox.azure_url,
        "UNDERSTUDY_AZURE_ACCOUNT": azure.ACCOUNT,
        "UNDERSTUDY_AZURE_ARM_ENDPOINT": sandbox.azure_url,
        "AZURE_SUBSCRIPTION_ID": azure.SUBSCRIPTION,
        "AZURE_RESOURCE_GROUP": azure.RESOURCE_GROUP,
    }


def _azure_keys(tx: sa.Connection, remote: list[dict[str, Any]]) -> Iterator[str]:
    """Azure keeps no metadata: the training file, uploaded for one intent alone, tells."""
    uploads = sa.select(operations).where(operations.c.kind == "upload")
    job_of = {row.handle["id"]: row.job_id for row in tx.execute(uploads) if row.handle}
    for job in remote:
        yield f"{job_of[job['training_file']]}.train.1"


def _with_deployments() -> tuple[str, ...]:
    """The engine's points in the order of a job that deploys, asks and takes down."""
    start = LABELS.index("register.start") + 1
    up = tuple(label for label in DEPLOY_LABELS if label.startswith("deploy."))
    down = tuple(label for label in DEPLOY_LABELS if label not in up)
    return (*LABELS[:start], *up, *LABELS[start:], *down)


_OPENAI = Provider(
    name="openai",
    labels=LABELS,
    held=(("before", "files.create"), ("after", _JOBS)),
    frozen=("train.sending-stored",),
    env=_openai_env,
    keys=_openai_keys,
    preload=("understudy_openai.backend",),
)
_AZURE = Provider(
    name="azure",
    labels=_with_deployments(),
    held=(
        ("before", "files.create"),
        ("before", _JOBS),
        ("after", _JOBS),
        ("before", _PUT),
        ("after", _PUT),
        ("after", "arm.deployments.delete"),
    ),
    frozen=("train.sending-stored", "deploy.sending-stored"),
    env=_azure_env,
    keys=_azure_keys,
    preload=("understudy_azure.backend", "azure.mgmt.cognitiveservices"),
    deploys=True,
    options={"deploy_seconds": 5},
    settings='[backends.azure]\ncredential = "managed"\ncapacity = 10\n',
)
PROVIDERS = {provider.name: provider for provider in (_OPENAI, _AZURE)}
