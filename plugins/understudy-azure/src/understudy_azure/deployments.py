"""Deployments through ARM: start, find, look, scale, stop, list."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from understudy.backend import FindResult
from understudy.errors import BackendError, InvalidData, NotFound
from understudy.model import (
    Absent,
    Deployment,
    DeploymentSpec,
    Found,
    Handle,
    Json,
    RemoteState,
    RemoteStatus,
)
from understudy_azure import wire_arm, wire_metrics
from understudy_azure.arm import Arm
from understudy_azure.plugin import DEFAULT_SKUS
from understudy_azure.settings import AzureSettings
from understudy_openai.wire_values import mapping

__all__ = ["Deployments"]


class Deployments:
    """The deployments of one account.

    Args:
        arm: asks ARM.
        settings: the capacity where a spec says nothing, and where models come from.
        secrets: strings that must stand in no status.
    """

    def __init__(
        self, arm: Arm, settings: AzureSettings, secrets: Callable[[], tuple[str, ...]]
    ) -> None:
        self._arm, self._settings, self._secrets = arm, settings, secrets

    def start(self, spec: DeploymentSpec, *, key: str) -> Handle:
        """One PUT, unless the deployment of this key is there already.

        A look goes before it: ARM's PUT is an upsert, and would turn the deployment of somebody
        else into this one.
        """
        sku = wire_arm.sku_name(spec.sku or DEFAULT_SKUS[spec.purpose])
        capacity = spec.capacity or self._settings.capacity
        wire_arm.check_name(spec.name)
        wire_arm.check_sku(sku, spec.model)
        there = self._get(spec.name)
        if there is not None:
            if wire_arm.is_key(there, key):
                return wire_arm.deployment_handle(there, name=spec.name)
            raise self._taken(spec, there)
        body = wire_arm.deployment_body(
            spec, key=key, sku=sku, capacity=capacity, source=self._settings.source
        )
        self._arm.call(
            f"deploy {spec.model} as {spec.name} ({sku}, capacity {capacity})",
            self._arm.client.deployments.begin_create_or_update,
            *self._arm.account,
            spec.name,
            body,
            paid=True,
            polling=False,
        )
        return wire_arm.deployment_handle(body, name=spec.name)

    def _taken(self, spec: DeploymentSpec, there: Json) -> InvalidData:
        serves = wire_arm.served_model(there) or "another model"
        whose = mapping(mapping(there).get("tags")).get(wire_arm.OWNER)
        owner = f", made by {whose}" if isinstance(whose, str) and whose else ""
        return InvalidData(
            f"the deployment name {spec.name} is taken: it serves {serves}{owner}. Choose another "
            "name, or take that one down first: understudy deployments stop."
        )

    def find(self, spec: DeploymentSpec, *, key: str) -> FindResult:
        """The deployment of that name, if it was started under ``key``."""
        there = self._get(spec.name)
        if there is None or not wire_arm.is_key(there, key):
            return Absent()
        return Found(handle=wire_arm.deployment_handle(there, name=spec.name))

    def poll(self, handle: Handle) -> RemoteStatus:
        """One look; gone is cancelled."""
        there = self._get(handle.id)
        if there is None:
            return RemoteStatus(state=RemoteState.CANCELLED, raw="deleted")
        return wire_arm.deployment_status(there, name=handle.id, secrets=self._secrets())

    def scale(self, handle: Handle, capacity: int) -> None:
        """A look and one PUT of what is there; asking twice for one capacity changes nothing.

        Raises:
            NotFound: there is no such deployment; it is not made again.
        """
        there, what = self._get(handle.id), f"scale {handle.id} to capacity {capacity}"
        if there is None:
            raise NotFound(f"could not {what}: there is no such deployment. Start it first.")
        self._arm.call(
            what,
            self._arm.client.deployments.begin_create_or_update,
            *self._arm.account,
            handle.id,
            wire_arm.rescaled(there, capacity),
            polling=False,
        )

    def stop(self, handle: Handle) -> None:
        """One DELETE; already gone is not an error."""
        delete = self._arm.client.deployments.begin_delete
        try:
            self._arm.call(
                f"take the deployment {handle.id} down",
                delete,
                *self._arm.account,
                handle.id,
                polling=False,
            )
        except NotFound as error:
            if error.code in wire_arm.ACCOUNT_GONE:
                raise

    def rows(self, now: float) -> Iterator[Deployment]:
        """Every deployment of the account, with when it was last asked where that can be read."""
        listed = self._arm.client.deployments.list
        found = list(self._arm.pages("list the deployments", listed, *self._arm.account))
        asked = self._asked(now) if found else None
        for row in found:
            one = wire_arm.deployment(row, self._secrets())
            yield one if asked is None else wire_metrics.with_idle(one, asked, now=now)

    def _asked(self, now: float) -> dict[str, float] | None:
        try:
            return self._arm.last_asked(now)
        except BackendError:
            # What stands must be shown all the same; `understudy doctor` says what is missing.
            return None

    def _get(self, name: str) -> Json:
        get = self._arm.client.deployments.get
        try:
            return self._arm.call(f"look at deployment {name}", get, *self._arm.account, name)
        except NotFound as error:
            if error.code in wire_arm.ACCOUNT_GONE:
                raise
            return None
