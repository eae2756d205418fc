"""``FakeBackend`` for a provider whose models answer only through deployments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from understudy.backend import BackendSpec, Clock, FindResult, Support
from understudy.errors import (
    BackendError,
    InvalidData,
    NotEligible,
    NotFound,
    OutcomeUnknown,
    QuotaError,
    Unavailable,
)
from understudy.hookspecs import hookimpl
from understudy.model import (
    Absent,
    Deployment,
    DeploymentSpec,
    Found,
    Handle,
    RemoteProblem,
    RemoteState,
    RemoteStatus,
)
from understudy.testing.fake_backend import FAKE_SPEC, FakeBackend, FakeSettings
from understudy.testing.fake_deployments import DeployingFakeProvider
from understudy.testing.fake_provider import FakeConnectionError, FakeHTTPError

__all__ = [
    "DEPLOYING_FAKE_SPEC",
    "DEPLOY_STATUSES",
    "DeployingFakeBackend",
    "understudy_backends",
]

DEPLOYING_FAKE_SPEC: BackendSpec = replace(
    FAKE_SPEC,
    name="fake-deploying",
    target="understudy.testing.fake_deploying:DeployingFakeBackend",
    summary="a provider in memory that deploys, for tests",
    capabilities=replace(
        FAKE_SPEC.capabilities,
        deploy=Support.yes(),
        default_skus={"evaluation": "developer", "serving": "standard"},
    ),
)

DEPLOY_STATUSES: Mapping[str, RemoteState] = {
    "Accepted": RemoteState.QUEUED,
    "Creating": RemoteState.RUNNING,
    "Succeeded": RemoteState.SUCCEEDED,
    "Failed": RemoteState.FAILED,
    "Deleting": RemoteState.CANCELLING,
}
"""Every status that the fake provider documents for deployments."""

_REFUSED: Mapping[int, tuple[type[BackendError], str]] = {
    400: (InvalidData, "the sku is not known there; name another one in [deployment]"),
    403: (NotEligible, "this account may not deploy; grant it the role for it"),
    409: (InvalidData, "the name is taken by a deployment of another model; use another name"),
    422: (QuotaError, "there is no capacity left; ask for quota or stop a deployment"),
}


class DeployingFakeBackend(FakeBackend):
    """Keeps the contract of ``SupportsDeploy`` over a ``DeployingFakeProvider``."""

    def __init__(
        self,
        *,
        name: str = "fake",
        settings: FakeSettings | None = None,
        clock: Clock | None = None,
        provider: DeployingFakeProvider | None = None,
    ) -> None:
        settings = settings or FakeSettings()
        if provider is None:
            named = DeployingFakeProvider.named
            made = named.setdefault(f"{settings.provider}+deploying", DeployingFakeProvider())
            provider = cast("DeployingFakeProvider", made)
        self.house = provider
        super().__init__(name=name, settings=settings, clock=clock, provider=provider)

    def start_deployment(self, spec: DeploymentSpec, *, key: str) -> Handle:
        """One request; a name that holds this key's deployment already is the same one."""
        tags = {
            "key": key,
            "owner": spec.owner,
            "purpose": spec.purpose,
            "delete_by": None if spec.delete_by is None else repr(spec.delete_by),
        }
        skus = DEPLOYING_FAKE_SPEC.capabilities.default_skus
        body = {
            "model": spec.model,
            "sku": spec.sku or skus[spec.purpose],
            "capacity": spec.capacity or 1,
            "tags": tags,
        }
        try:
            made = self._put(spec.name, body)
        except (FakeHTTPError, FakeConnectionError) as error:
            raise self._refusal(error, key) from None
        return self._deployment_handle(made)

    def _put(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self.house.put_deployment(self._key(), name, body)

    def _refusal(self, error: FakeHTTPError | FakeConnectionError, key: str) -> BackendError:
        if isinstance(error, FakeHTTPError) and error.status in _REFUSED:
            cls, words = _REFUSED[error.status]
            return cls(f"{self.name}: {words}", status=error.status)
        known = self._error(error)
        if isinstance(known, Unavailable):
            return OutcomeUnknown(
                f"{self.name}: the deployment of {key} got no clear answer; look for it by key",
                status=known.status,
            )
        return known

    def find_deployment(self, spec: DeploymentSpec, *, key: str) -> FindResult:
        """By its name, which holds one deployment, and by the key in its tags."""
        for one in self._ask(self.house.list_deployments):
            if one["name"] == spec.name and one["tags"].get("key") == key:
                return Found(handle=self._deployment_handle(one))
        return Absent()

    def poll_deployment(self, handle: Handle) -> RemoteStatus:
        """One look."""
        try:
            one = self._ask(self.house.deployment, handle.id)
        except NotFound:
            return RemoteStatus(state=RemoteState.CANCELLED, raw="gone")
        trouble = one["error"]
        state = self._deploy_state(one["status"])
        return RemoteStatus(
            state=state,
            raw=one["status"],
            problem=RemoteProblem(message=trouble) if trouble else None,
            model=one["name"] if state is RemoteState.SUCCEEDED else None,
        )

    def _deploy_state(self, raw: str) -> RemoteState:
        return DEPLOY_STATUSES.get(raw, RemoteState.UNKNOWN)

    def scale_deployment(self, handle: Handle, capacity: int) -> None:
        """One request."""
        self._ask(self.house.patch_deployment, handle.id, capacity)

    def stop_deployment(self, handle: Handle) -> None:
        """One request; 404 is what was wanted."""
        try:
            self._ask(self.house.delete_deployment, handle.id)
        except NotFound:
            return

    def list_deployments(self) -> Iterator[Deployment]:
        """All of the account."""
        for one in self._ask(self.house.list_deployments):
            tags = one["tags"]
            end = tags.get("delete_by")
            yield Deployment(
                handle=self._deployment_handle(one),
                name=one["name"],
                model=one["model"],
                state=self._deploy_state(one["status"]),
                raw=one["status"],
                sku=one["sku"],
                capacity=one["capacity"],
                owner=tags.get("owner"),
                key=tags.get("key"),
                purpose=tags.get("purpose"),
                delete_by=None if end is None else float(end),
                created_at=one["created_at"],
            )

    def _deployment_handle(self, one: Mapping[str, Any]) -> Handle:
        return Handle(kind="deployment", id=one["name"])


@hookimpl
def understudy_backends() -> Iterable[BackendSpec]:
    """Yield the deploying fake; this module serves as a plugin, too."""
    yield DEPLOYING_FAKE_SPEC
